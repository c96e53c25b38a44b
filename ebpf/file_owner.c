// SPDX-License-Identifier: GPL-2.0
//
// file_owner: a file was given another owner or group.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{chown,fchown,lchown,fchownat}
// (since 2.6.33), in the caller. What failed changed nothing and is not told.
//
// What is changed by its descriptor is named by the kernel. Else the name is what the
// caller wrote (user_memory), behind the directory that it is relative to; links in it
// are not followed here, though all but the last are by the call, and the last unless
// it was told not to (link_itself). The ids are those of the caller's user namespace.
// Whose the file was before is not known any more when the call is over; setuid and
// setgid are gone by then from a file that is run.
//
// Blind to: files made by another user; the agent itself.

#define AT_SYMLINK_NOFOLLOW 0x100 // include/uapi/linux/fcntl.h
#define UNCHANGED_16 0xffff // as -1, in the calls of i386 that came first (low2highuid)

struct file_owner_record {
	struct record_header header;
	struct name_info name;
	u32 uid;
	u32 gid;
	u32 link_itself;
	u32 reserved;
	char data[NAME_ROOM];
};

struct owner_call {
	struct name_source name;
	u32 uid;
	u32 gid;
	u32 link_itself;
	u32 reserved;
};

static __always_inline void file_owner_body(struct task_struct *task, struct owner_call *call)
{
	if (is_own_task(task))
		return;
	struct file_owner_record *record = reserve_activity(SLOT_file_owner, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_owner, __builtin_offsetof(struct file_owner_record, data), task);
	record->uid = call->uid;
	record->gid = call->gid;
	record->link_itself = call->link_itself;
	record->reserved = 0;
	record->name = append_named(task, &record->header, sizeof(*record), &call->name);
	submit_activity(SLOT_file_owner, &record->header);
}

// The calls of i386 that came first have ids of 16 bits.
static __always_inline u32 owner_id(s32 number, u32 id)
{
#ifdef COMPAT_LANE
	bool is_short = number == SYS_CHOWN || number == SYS_FCHOWN || number == SYS_LCHOWN;
	if (is_short && (u16)id == UNCHANGED_16)
		return -1;
	return is_short ? (u16)id : id;
#else
	return id;
#endif
}

// One program for the four calls: each costs compile time at every start.
int file_owner_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct pt_regs *regs = CALL_REGS(ctx);
	s32 number = CALL_NUMBER(ctx);
	u64 first = ARGUMENT_0(regs), second = ARGUMENT_1(regs), third = ARGUMENT_2(regs);
	struct owner_call call = { .name.dirfd = AT_FDCWD, .name.address = first };
	if (CALL_RESULT(ctx) < 0)
		return 0;
	call.link_itself = number == SYS_LCHOWN || number == SYS_LCHOWN32;
	if (number == SYS_FCHOWN || number == SYS_FCHOWN32) {
		call.name.dirfd = first;
		call.name.address = 0;
	}
	if (number == SYS_FCHOWNAT) {
		call.name.dirfd = first;
		call.name.address = second;
		call.link_itself = (ARGUMENT_4(regs) & AT_SYMLINK_NOFOLLOW) != 0;
		second = third;
		third = ARGUMENT_3(regs);
	}
	call.uid = owner_id(number, second);
	call.gid = owner_id(number, third);
	file_owner_body(current_task(), &call);
	return 0;
}
