// SPDX-License-Identifier: GPL-2.0
//
// kexec: another kernel was put into memory, to be started without the firmware, or
// somebody tried.
//
// Hooks: the classic tracepoints syscalls:sys_exit_kexec_load (since 2.6.33) and
// kexec_file_load (since 3.17), in the caller; a kernel that was made without one
// (CONFIG_KEXEC, CONFIG_KEXEC_FILE) has no hook for it and nothing to see there. What
// failed is told, too, with its result. The record goes through the lifecycle ring: a
// flood of file opens must not evict it.
//
// The kernel that kexec_file_load is given is named by the kernel that runs, by its
// descriptor once the call is over.
//
// The same call by the same program that fails for the same reason within a second
// is counted as repeated; whatever succeeds is told.
//
// Blind to: what kexec_load is given, which is memory; initrd and command line; the
// moment at which the other kernel starts, which is reboot.

#define KEXEC_PATH_ROOM 1024 // leaf first: what is cut off a longer path is its root's end
#define KEXEC_OPERATION 0xb0000 // beside the others' in struct access; plus the call

struct kexec_record {
	struct record_header header;
	u64 flags_raw;
	u64 segments;
	u32 by_file;
	u32 reserved;
	char data[KEXEC_PATH_ROOM];
};

int kexec_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	s64 result = CALL_RESULT(ctx);
	bool by_file = CALL_NUMBER(ctx) == SYS_KEXEC_FILE_LOAD;
	struct access access = { .operation = KEXEC_OPERATION + by_file, .error = result };
	if (result < 0 && is_access_told(task, &access)) {
		count_repeated(SLOT_kexec);
		return 0;
	}
	struct kexec_record *record = reserve_lifecycle(SLOT_kexec, sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, KIND_kexec, __builtin_offsetof(struct kexec_record, data), task);
	record->header.result = result;
	record->flags_raw = by_file ? ARGUMENT_4(regs) : ARGUMENT_3(regs);
	record->segments = by_file ? 0 : ARGUMENT_1(regs);
	record->by_file = by_file;
	record->reserved = 0;
	u32 trust = 0;
	struct file *file = by_file && result != -EBADF ? fd_file(task, (s32)ARGUMENT_0(regs), &trust) : 0;
	record->header.flags |= trust;
	if (file)
		append_path(&record->header, sizeof(*record), READ(file, f_path));
	submit_lifecycle(SLOT_kexec, &record->header);
	return 0;
}
