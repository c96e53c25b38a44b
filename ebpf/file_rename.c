// SPDX-License-Identifier: GPL-2.0
//
// file_rename: a file or directory was given another name.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{rename,renameat} (since 2.6.33)
// and renameat2 (since 3.15), in the caller. What failed changed nothing and is not
// told.
//
// Both names are what the caller wrote (user_memory), behind the directories that
// they are relative to; links in them are not followed. Which inode was moved, and
// whether another was replaced, is not known any more when the call is over.
//
// By io_uring the same is told by the kernel's copy of the names (prelude_uring.c).
//
// Blind to: the agent itself.

struct file_rename_record {
	struct record_header header;
	struct name_info old_name; // and behind it, as in rename_call,
	struct name_info new_name;
	u32 flags_raw;
	u32 reserved;
	char data[NAME_ROOM + NAME_ROOM];
};

struct rename_call {
	struct name_source old_name;
	struct name_source new_name;
	u32 flags;
	u32 trust; // FLAG_*, VIA_*
};

static __always_inline void file_rename_body(struct task_struct *task, struct rename_call *call)
{
	if (is_own_task(task))
		return;
	struct file_rename_record *record = reserve_activity(SLOT_file_rename, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_rename, __builtin_offsetof(struct file_rename_record, data), task);
	record->header.flags |= call->trust;
	record->flags_raw = call->flags;
	record->reserved = 0;
	append_two_names(task, &record->header, sizeof(*record), &record->old_name, &call->old_name);
	submit_activity(SLOT_file_rename, &record->header);
}

// One program for the three calls: each costs compile time at every start.
int file_rename_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct rename_call call = { .old_name.dirfd = AT_FDCWD, .new_name.dirfd = AT_FDCWD };
	struct pt_regs *regs = CALL_REGS(ctx);
	if (CALL_RESULT(ctx) < 0)
		return 0;
	if (CALL_NUMBER(ctx) == SYS_RENAME) {
		call.old_name.address = ARGUMENT_0(regs);
		call.new_name.address = ARGUMENT_1(regs);
	} else {
		call.old_name.dirfd = ARGUMENT_0(regs);
		call.old_name.address = ARGUMENT_1(regs);
		call.new_name.dirfd = ARGUMENT_2(regs);
		call.new_name.address = ARGUMENT_3(regs);
	}
	if (CALL_NUMBER(ctx) == SYS_RENAMEAT2)
		call.flags = ARGUMENT_4(regs);
	file_rename_body(current_task(), &call);
	return 0;
}

#if KERNEL_HAS(io_kiocb, cmd)
int file_rename_uring(struct bpf_raw_tracepoint_args *ctx)
{
	struct uring_call asked = {};
	if (take_uring_call(&asked) && uring_was_kept(&asked, SLOT_file_rename)) {
		struct io_rename *rename = (struct io_rename *)asked.command;
		struct rename_call call = { .trust = asked.trust | VIA_IO_URING, .flags = READ(rename, flags) };
		call.old_name = uring_name_source(uring_first_name(&asked), READ(rename, old_dfd));
		call.new_name = uring_name_source(uring_second_name(&asked), READ(rename, new_dfd));
		file_rename_body((struct task_struct *)asked.task, &call);
	}
	forget_uring_call(&asked);
	return 0;
}
#endif
