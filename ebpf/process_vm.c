// SPDX-License-Identifier: GPL-2.0
//
// process_vm: one process read or wrote the memory of another, or tried to.
//
// Hooks: the classic tracepoints syscalls:sys_exit_process_vm_{readv,writev}
// (since 3.2), in the caller; everything it tells is in registers or in kernel
// objects. What failed is told, too, with its result. The record goes through the
// lifecycle ring: a flood of file opens must not evict it.
//
// The same direction by the same program to the same process, with the same
// outcome, is told once a second and otherwise counted as repeated; numbers that
// name no process count as one. A process that reaches into itself, as unwinders
// do, is not told.
//
// The target is looked up when the call is over: one that is gone by then keeps
// only the number it was called by.
//
// Blind to: /proc/PID/mem; process_madvise; ptrace (a probe of
// its own); memory that both share; what was written, and where.

#define PROCESS_VM_PATH_ROOM 1024 // leaf first: what is cut off a longer path is its root's end
#define PROCESS_VM_OPERATION 0x10000 // beside ptrace's own in struct access; plus 1 for a write

struct process_vm_record {
	struct record_header header;
	struct target_info target;
	u64 flags_raw;
	u32 write;
	u32 reserved;
	char data[PROCESS_VM_PATH_ROOM];
};

struct process_vm_call {
	s64 result;
	u64 flags;
	u32 number;
	u32 write;
};

// `target` is 0 when the number names no process.
static __always_inline void process_vm_body(
	struct task_struct *task, struct task_struct *target, struct process_vm_call *call)
{
	struct target_info info;
	fill_target(&info, target, call->number);
	struct access access = {
		.target_started_ns = info.started_ns,
		.target_tgid = info.tgid,
		.operation = PROCESS_VM_OPERATION + call->write,
		.error = call->result < 0 ? call->result : 0,
	};
	if (info.tgid == READ(task, tgid))
		return;
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_process_vm);
		return;
	}
	struct process_vm_record *record = reserve_lifecycle(SLOT_process_vm, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_process_vm, __builtin_offsetof(struct process_vm_record, data), task);
	record->header.result = call->result;
	record->target = info;
	record->flags_raw = call->flags;
	record->write = call->write;
	record->reserved = 0;
	if (target)
		append_target_path(&record->header, sizeof(*record), target);
	submit_lifecycle(SLOT_process_vm, &record->header);
}

int process_vm_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct process_vm_call call = {
		.result = CALL_RESULT(ctx),
		.flags = ARGUMENT_5(regs),
		.number = ARGUMENT_0(regs),
		.write = CALL_NUMBER(ctx) == SYS_PROCESS_VM_WRITEV,
	};
	process_vm_body(task, task_by_number(task, call.number), &call);
	return 0;
}
