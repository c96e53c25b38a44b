// SPDX-License-Identifier: GPL-2.0
//
// file_unlink: a name was taken away, of a file or of an empty directory.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{unlink,unlinkat,rmdir} (since
// 2.6.33), in the caller. What failed changed nothing and is not told.
//
// The name is what the caller wrote (user_memory), behind the directory that it is
// relative to; links in it are not followed. That the name was the last of its file,
// and which inode that was, is not known any more when the call is over.
//
// By io_uring the same is told by the kernel's copy of the name (prelude_uring.c).
//
// Blind to: a file that another was renamed over
// (file_rename tells); what a network's other hosts take away; the agent itself.

#define AT_REMOVEDIR 0x200 // include/uapi/linux/fcntl.h

struct file_unlink_record {
	struct record_header header;
	struct name_info name;
	u32 directory;
	u32 reserved;
	char data[NAME_ROOM];
};

struct unlink_call {
	struct name_source name;
	u32 directory;
	u32 trust; // FLAG_*, VIA_*
};

static __always_inline void file_unlink_body(struct task_struct *task, struct unlink_call *call)
{
	if (is_own_task(task))
		return;
	struct file_unlink_record *record = reserve_activity(SLOT_file_unlink, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_unlink, __builtin_offsetof(struct file_unlink_record, data), task);
	record->header.flags |= call->trust;
	record->directory = call->directory;
	record->reserved = 0;
	record->name = append_named(task, &record->header, sizeof(*record), &call->name);
	submit_activity(SLOT_file_unlink, &record->header);
}

// One program for the three calls: each costs compile time at every start.
int file_unlink_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct unlink_call call = { .name.dirfd = AT_FDCWD };
	struct pt_regs *regs = CALL_REGS(ctx);
	if (CALL_RESULT(ctx) < 0)
		return 0;
	call.name.address = ARGUMENT_0(regs);
	call.directory = CALL_NUMBER(ctx) == SYS_RMDIR;
	if (CALL_NUMBER(ctx) == SYS_UNLINKAT) {
		call.name.dirfd = ARGUMENT_0(regs);
		call.name.address = ARGUMENT_1(regs);
		call.directory = (ARGUMENT_2(regs) & AT_REMOVEDIR) != 0;
	}
	file_unlink_body(current_task(), &call);
	return 0;
}

#if KERNEL_HAS(io_kiocb, cmd)
int file_unlink_uring(struct bpf_raw_tracepoint_args *ctx)
{
	struct uring_call asked = {};
	if (take_uring_call(&asked) && uring_was_kept(&asked, SLOT_file_unlink)) {
		struct io_unlink *unlink = (struct io_unlink *)asked.command;
		struct unlink_call call = { .trust = asked.trust | VIA_IO_URING };
		call.name = uring_name_source(uring_first_name(&asked), READ(unlink, dfd));
		call.directory = (READ(unlink, flags) & AT_REMOVEDIR) != 0;
		file_unlink_body((struct task_struct *)asked.task, &call);
	}
	forget_uring_call(&asked);
	return 0;
}
#endif
