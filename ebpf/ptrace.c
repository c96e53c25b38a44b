// SPDX-License-Identifier: GPL-2.0
//
// ptrace: one process began to watch, read or change another, or tried to.
//
// Hook: the classic tracepoint syscalls:sys_exit_ptrace (since 2.6.33), in the
// caller; everything it tells is in registers or in kernel objects. What failed
// is told, too, with its result. The record goes through the lifecycle ring: a
// flood of file opens must not evict it.
//
// The same request by the same program to the same process, with the same
// outcome, is told once a second and otherwise counted as repeated; numbers that
// name no process and requests that no kernel knows count as one each.
//
// The target of PTRACE_TRACEME is the caller itself. It is looked up when the
// call is over: a target that is gone by then keeps only the number it was
// called by.
//
// Blind to: what is done through /proc/PID/mem; being stopped
// and continued by a tracer without a request (PTRACE_O_TRACE* options, signals).

#define PTRACE_PATH_ROOM 1024 // leaf first: what is cut off a longer path is its root's end
#define PTRACE_TRACEME 0 // include/uapi/linux/ptrace.h
#define PTRACE_ARCH_REQUESTS 64 // 0-63: the common ones and each architecture's own
#define PTRACE_COMMON_REQUESTS 0x4200 // PTRACE_SETOPTIONS and what came after, so far 0x4200-0x4215
#define PTRACE_UNKNOWN 0xffffffff

struct ptrace_record {
	struct record_header header;
	struct target_info target;
	u64 request;
	char data[PTRACE_PATH_ROOM];
};

struct ptrace_call {
	s64 result;
	u64 request;
	u32 number;
};

static __always_inline u32 ptrace_operation(u64 request)
{
	bool known = request < PTRACE_ARCH_REQUESTS || request - PTRACE_COMMON_REQUESTS < PTRACE_ARCH_REQUESTS;
	return known ? request : PTRACE_UNKNOWN;
}

// `target` is 0 when the number names no process.
static __always_inline void ptrace_body(struct task_struct *task, struct task_struct *target, struct ptrace_call *call)
{
	struct target_info info;
	fill_target(&info, target, call->number);
	struct access access = {
		.target_started_ns = info.started_ns,
		.target_tgid = info.tgid,
		.operation = ptrace_operation(call->request),
		.error = call->result < 0 ? call->result : 0,
	};
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_ptrace);
		return;
	}
	struct ptrace_record *record = reserve_lifecycle(SLOT_ptrace, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_ptrace, __builtin_offsetof(struct ptrace_record, data), task);
	record->header.result = call->result;
	record->target = info;
	record->request = call->request;
	if (target)
		append_target_path(&record->header, sizeof(*record), target);
	submit_lifecycle(SLOT_ptrace, &record->header);
}

int ptrace_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct ptrace_call call = { .result = CALL_RESULT(ctx), .request = ARGUMENT_0(regs), .number = ARGUMENT_1(regs) };
	struct task_struct *target = task;
	if (call.request == PTRACE_TRACEME)
		call.number = bpf_get_current_pid_tgid();
	else
		target = task_by_number(task, call.number);
	ptrace_body(task, target, &call);
	return 0;
}
