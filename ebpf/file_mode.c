// SPDX-License-Identifier: GPL-2.0
//
// file_mode: the permissions of a file were changed, or somebody tried to have it run
// as its owner or group.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{chmod,fchmod,fchmodat} (since
// 2.6.33) and fchmodat2 (since 6.6), in the caller. What failed changed nothing and is
// told only where a file was named and setuid or setgid was asked for.
//
// What is changed by its descriptor is named by the kernel. Else the name is what the
// caller wrote (user_memory), behind the directory that it is relative to; links in it
// are not followed here, though the call follows them. Which permissions there were
// before is not known any more when the call is over; and the kernel drops setgid
// from a file of a group that the caller is not in.
//
// Blind to: access control lists (setxattr); the mode that a file is
// made with; the agent itself.

#define S_ISUID 04000 // include/uapi/linux/stat.h
#define S_ISGID 02000
#define MODE_BITS 07777 // S_IALLUGO, include/linux/stat.h: what the calls take
#define EFAULT 14 // include/uapi/asm-generic/errno-base.h

struct file_mode_record {
	struct record_header header;
	struct name_info name;
	u32 mode_raw;
	u32 reserved;
	char data[NAME_ROOM];
};

struct mode_call {
	struct name_source name;
	s64 result;
	u32 mode_raw;
	u32 reserved;
};

static __always_inline bool is_mode_told(struct mode_call *call)
{
	if (call->result >= 0)
		return true;
	return call->mode_raw & (S_ISUID | S_ISGID) && call->result != -EBADF && call->result != -EFAULT;
}

static __always_inline void file_mode_body(struct task_struct *task, struct mode_call *call)
{
	if (!is_mode_told(call) || is_own_task(task))
		return;
	struct file_mode_record *record = reserve_activity(SLOT_file_mode, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_mode, __builtin_offsetof(struct file_mode_record, data), task);
	record->header.result = call->result;
	record->mode_raw = call->mode_raw;
	record->reserved = 0;
	record->name = append_named(task, &record->header, sizeof(*record), &call->name);
	submit_activity(SLOT_file_mode, &record->header);
}

// One program for the four calls: each costs compile time at every start.
int file_mode_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct pt_regs *regs = CALL_REGS(ctx);
	u64 first = ARGUMENT_0(regs), mode = ARGUMENT_1(regs);
	struct mode_call call = { .result = CALL_RESULT(ctx), .name.dirfd = AT_FDCWD };
	if (CALL_NUMBER(ctx) == SYS_CHMOD) {
		call.name.address = first;
	} else {
		call.name.dirfd = first;
		if (CALL_NUMBER(ctx) != SYS_FCHMOD) {
			call.name.address = mode;
			mode = ARGUMENT_2(regs);
		}
	}
	call.mode_raw = mode & MODE_BITS;
	file_mode_body(current_task(), &call);
	return 0;
}
