// SPDX-License-Identifier: GPL-2.0
//
// file_truncate: a file was cut to a length, or made longer.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{truncate,ftruncate} (since 2.6.33),
// in the caller. What failed changed nothing and is not told.
//
// What is cut by its descriptor is named by the kernel, a memfd and shared memory as
// well. Else the name is what the caller wrote (user_memory), behind the directory that
// it is relative to; links in it are not followed here, though the call follows them.
// How long the file was before is not known any more when the call is over.
//
// Blind to: io_uring (IORING_OP_FTRUNCATE, since 6.9); O_TRUNC, which
// file_open tells; fallocate, which punches holes; the agent itself.

struct file_truncate_record {
	struct record_header header;
	struct name_info name;
	u64 length_bytes;
	char data[NAME_ROOM];
};

struct truncate_call {
	struct name_source name;
	u64 length_bytes;
};

static __always_inline void file_truncate_body(struct task_struct *task, struct truncate_call *call)
{
	if (is_own_task(task))
		return;
	struct file_truncate_record *record = reserve_activity(SLOT_file_truncate, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_truncate, __builtin_offsetof(struct file_truncate_record, data), task);
	record->length_bytes = call->length_bytes;
	record->name = append_named(task, &record->header, sizeof(*record), &call->name);
	submit_activity(SLOT_file_truncate, &record->header);
}

// One program for the two calls, and for those of i386 that take a length of 64 bits in
// two registers: each costs compile time at every start.
int file_truncate_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct pt_regs *regs = CALL_REGS(ctx);
	s32 number = CALL_NUMBER(ctx);
	struct truncate_call call = { .name.dirfd = AT_FDCWD, .length_bytes = ARGUMENT_1(regs) };
	if (CALL_RESULT(ctx) < 0)
		return 0;
	if (number == SYS_TRUNCATE64 || number == SYS_FTRUNCATE64)
		call.length_bytes = (u32)call.length_bytes | ARGUMENT_2(regs) << 32;
	if (number == SYS_FTRUNCATE || number == SYS_FTRUNCATE64)
		call.name.dirfd = ARGUMENT_0(regs);
	else
		call.name.address = ARGUMENT_0(regs);
	file_truncate_body(current_task(), &call);
	return 0;
}
