// SPDX-License-Identifier: GPL-2.0
//
// file_link: a file was given one more name, or a symbolic link was made.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{link,linkat,symlink,symlinkat}
// (since 2.6.33), in the caller. What failed changed nothing and is not told.
//
// Names are what the caller wrote (user_memory), behind the directories that they
// are relative to; links in them are not followed, unless linkat was asked to
// (AT_SYMLINK_FOLLOW), and then not here. What linkat is given by its descriptor
// (AT_EMPTY_PATH) is named by the kernel. A symbolic link may hold any text: it is
// told as it was written.
//
// By io_uring the same is told by the kernel's copy of the names (prelude_uring.c).
//
// Blind to: links by name to /proc/PID/fd/N, which are
// told as such; the agent itself.

struct file_link_record {
	struct record_header header;
	struct name_info target; // and behind it, as in link_call,
	struct name_info name;
	u32 symbolic;
	u32 reserved;
	char data[NAME_ROOM + NAME_ROOM];
};

struct link_call {
	struct name_source target;
	struct name_source name;
	u32 symbolic;
	u32 trust; // FLAG_*, VIA_*
};

static __always_inline void file_link_body(struct task_struct *task, struct link_call *call)
{
	if (is_own_task(task))
		return;
	struct file_link_record *record = reserve_activity(SLOT_file_link, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_link, __builtin_offsetof(struct file_link_record, data), task);
	record->header.flags |= call->trust;
	record->symbolic = call->symbolic;
	record->reserved = 0;
	append_two_names(task, &record->header, sizeof(*record), &record->target, &call->target);
	submit_activity(SLOT_file_link, &record->header);
}

// What the registers say of each call.
static __always_inline void read_link(struct link_call *call, s32 id, struct pt_regs *regs)
{
	u64 first = ARGUMENT_0(regs), second = ARGUMENT_1(regs), third = ARGUMENT_2(regs);
	call->symbolic = id == SYS_SYMLINK || id == SYS_SYMLINKAT;
	call->target.address = first;
	call->name.address = second;
	if (id == SYS_SYMLINKAT) {
		call->name.dirfd = second;
		call->name.address = third;
	}
	if (id == SYS_LINKAT) {
		call->target.dirfd = first;
		call->target.address = second;
		call->name.dirfd = third;
		call->name.address = ARGUMENT_3(regs);
	}
}

// One program for the four calls: each costs compile time at every start.
int file_link_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct link_call call = { .target.dirfd = AT_FDCWD, .name.dirfd = AT_FDCWD };
	if (CALL_RESULT(ctx) < 0)
		return 0;
	read_link(&call, CALL_NUMBER(ctx), CALL_REGS(ctx));
	file_link_body(current_task(), &call);
	return 0;
}

#if KERNEL_HAS(io_kiocb, cmd)
int file_link_uring(struct bpf_raw_tracepoint_args *ctx)
{
	struct uring_call asked = {};
	if (take_uring_call(&asked) && uring_was_kept(&asked, SLOT_file_link)) {
		struct io_link *link = (struct io_link *)asked.command;
		struct link_call call = { .trust = asked.trust | VIA_IO_URING };
		call.symbolic = asked.opcode == URING_SYMLINKAT;
		call.target = uring_name_source(uring_first_name(&asked), call.symbolic ? AT_FDCWD : READ(link, old_dfd));
		call.name = uring_name_source(uring_second_name(&asked), READ(link, new_dfd));
		file_link_body((struct task_struct *)asked.task, &call);
	}
	forget_uring_call(&asked);
	return 0;
}
#endif
