// SPDX-License-Identifier: GPL-2.0
//
// agent_signal: somebody sent a signal to one of the agent's own processes.
//
// Hook: the raw tracepoint signal_generate (since 2.6.33), in the sender, whatever the
// call: kill, tgkill, rt_sigqueueinfo, pidfd_send_signal, a write to cgroup.kill. Who
// the signal is for, and what became of it, is the kernel's own word. What the agent's
// processes send each other is not told, nor what the kernel sends for itself (SI_KERNEL,
// the end of a child). The number in `code` is the sender's to choose, where it is below
// 0 and not SI_TKILL.
//
// The same signal from the same program to the same process within a second is counted
// as repeated, unless something else became of it. The record wakes the reader: what is
// sent to it may be the last that it is told.
//
// Blind to: what the sender was not allowed to send; signal 0, which asks whether a
// process is there; a SIGKILL to the agent itself, whose rings die with it; what the
// kernel was made to send (a terminal's interrupt, too little memory, a limit of CPU
// time that somebody else set, a timer or a descriptor of the process's own).

#define AGENT_SIGNAL_OPERATION 0x90000 // beside the others' in struct access; plus the signal
#define SEND_SIG_NOINFO 0 // include/linux/sched/signal.h, in place of a struct: from the current task, as by kill
#define SEND_SIG_PRIV 1 // from the kernel
#define SI_KERNEL 0x80 // include/uapi/asm-generic/siginfo.h; above 0 the kernel sent it

struct agent_signal_record {
	struct record_header header;
	struct target_info target;
	u32 signal;
	s32 code;
	u32 outcome; // TRACE_SIGNAL_*, include/trace/events/signal.h
	u32 reserved;
};

struct sent_signal {
	struct task_struct *target;
	u32 signal;
	s32 code;
	u32 outcome;
};

static __always_inline s32 signal_code(u64 info)
{
	if (info <= SEND_SIG_PRIV)
		return info == SEND_SIG_PRIV ? SI_KERNEL : 0; // SI_USER
	return READ((struct kernel_siginfo *)info, si_code);
}

static __always_inline void agent_signal_body(struct task_struct *task, struct sent_signal *sent)
{
	struct target_info target;
	fill_target(&target, sent->target, 0);
	struct access access = {
		.operation = AGENT_SIGNAL_OPERATION | sent->signal,
		.error = sent->outcome,
		.target_started_ns = target.started_ns,
		.target_tgid = target.tgid,
	};
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_agent_signal);
		return;
	}
	struct agent_signal_record *record = reserve_lifecycle(SLOT_agent_signal, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_agent_signal, sizeof(*record), task);
	record->header.flags |= way_of_call(task);
	record->target = target;
	record->signal = sent->signal;
	record->code = sent->code;
	record->outcome = sent->outcome;
	record->reserved = 0;
	submit_lifecycle_now(SLOT_agent_signal, &record->header);
}

int agent_signal_generate(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = current_task();
	struct sent_signal sent = { .target = (struct task_struct *)ctx->args[2] };
	if (!is_own_task(sent.target) || is_own_task(task))
		return 0;
	sent.signal = ctx->args[0];
	sent.code = signal_code(ctx->args[1]);
	sent.outcome = ctx->args[4];
	if (sent.code <= 0)
		agent_signal_body(task, &sent);
	return 0;
}
