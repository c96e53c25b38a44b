// SPDX-License-Identifier: GPL-2.0
//
// userfaultfd: a process asked to handle page faults itself, which can hold the
// kernel at a place of its choosing.
//
// Hook: the classic tracepoint syscalls:sys_exit_userfaultfd (since 4.3), in the
// caller; everything it tells is in registers. What failed is told, too, with its
// result. The record goes through the lifecycle ring: a flood of file opens must
// not evict it.
//
// The same program that asks again within a second, with the same outcome, is
// counted as repeated and not told.
//
// Blind to: USERFAULTFD_IOC_NEW on /dev/userfaultfd (since 6.1);
// descriptors received from others; FUSE, which holds the kernel as well.

#define UFFD_USER_MODE_ONLY 1 // include/uapi/linux/userfaultfd.h, since 5.11: the kernel's own faults are not handled
#define USERFAULTFD_OPERATION 0x20000 // beside the others' in struct access

struct userfaultfd_record {
	struct record_header header;
	u32 flags_raw;
	u32 reserved;
};

static __always_inline void userfaultfd_body(struct task_struct *task, u32 flags, s64 result)
{
	struct access access = {
		.operation = USERFAULTFD_OPERATION + (flags & UFFD_USER_MODE_ONLY),
		.error = result < 0 ? result : 0,
	};
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_userfaultfd);
		return;
	}
	struct userfaultfd_record *record = reserve_lifecycle(SLOT_userfaultfd, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_userfaultfd, sizeof(*record), task);
	record->header.result = result;
	record->flags_raw = flags;
	record->reserved = 0;
	submit_lifecycle(SLOT_userfaultfd, &record->header);
}

int userfaultfd_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct pt_regs *regs = CALL_REGS(ctx);
	userfaultfd_body(current_task(), ARGUMENT_0(regs), CALL_RESULT(ctx));
	return 0;
}
