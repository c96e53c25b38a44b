// SPDX-License-Identifier: GPL-2.0
//
// io_uring_setup: a process made a ring, through which it can ask the kernel for
// most of what system calls do, without making them; or it tried to.
//
// Hook: the classic tracepoint syscalls:sys_exit_io_uring_setup (since 5.1), in the
// caller. What failed is told, too, with its result. The record goes through the
// lifecycle ring: a flood of file opens must not evict it.
//
// The flags are those the caller wrote, and may have changed since the kernel took
// its copy (user_memory).
//
// The same program that makes another ring with the same of the first eight flags
// within a second, or fails for the same reason, is counted as repeated and not told;
// what the later flags ask for is how fast it goes, not what can be done with it.
//
// Blind to: rings received from others, and those that fork hands on; what is asked
// of a ring, save what file_open, file_rename, file_unlink and net_connect tell.

#define IO_URING_FLAGS_AT 8 // struct io_uring_params, include/uapi/linux/io_uring.h
#define IO_URING_FLAGS_COMPARED 0xff // to IORING_SETUP_SUBMIT_ALL
#define IO_URING_OPERATION 0x70000 // beside the others' in struct access; plus flags

struct io_uring_setup_record {
	struct record_header header;
	u32 entries;
	u32 flags_raw;
	u32 flags_known;
	u32 reserved;
};

int io_uring_setup_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	s64 result = CALL_RESULT(ctx);
	u64 from = ARGUMENT_1(regs) + IO_URING_FLAGS_AT;
	u32 flags = 0;
	bool unread = bpf_probe_read_user(&flags, sizeof(flags), (void *)from);
	struct access access = {
		.operation = IO_URING_OPERATION + (result < 0 ? 0 : flags & IO_URING_FLAGS_COMPARED),
		.error = result < 0 ? result : 0,
	};
	if (is_own_task(task))
		return 0;
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_io_uring_setup);
		return 0;
	}
	struct io_uring_setup_record *record = reserve_lifecycle(SLOT_io_uring_setup, sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, KIND_io_uring_setup, sizeof(*record), task);
	record->header.result = result;
	record->header.flags |= unread ? FLAG_READ_ERROR : FLAG_USER_MEMORY;
	record->entries = ARGUMENT_0(regs);
	record->flags_raw = flags;
	record->flags_known = !unread;
	record->reserved = 0;
	submit_lifecycle(SLOT_io_uring_setup, &record->header);
	return 0;
}
