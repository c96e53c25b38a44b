// SPDX-License-Identifier: GPL-2.0
//
// process_name: a thread gave itself another name, by which ps and top show it.
//
// Hook: the classic tracepoint syscalls:sys_exit_prctl (since 2.6.33), in the
// caller. Anything but PR_SET_NAME that succeeded goes back at once (prctl is called
// for much else), so that a program that does not rename itself pays for one
// comparison. The name is the one that the kernel keeps, not the caller's memory; the
// old one is gone by then.
//
// The record goes through the activity ring: a name costs half a microsecond to set,
// and a flood of them must not evict the start of a program. The same name taken by
// the same thread again within a second is counted as repeated.
//
// Blind to: names written into /proc/PID/comm and
// /proc/PID/task/TID/comm, also of other threads; the arguments, which a program may
// write over in its memory (prctl PR_SET_MM_ARG_START, too), and by which ps shows it
// in full; the agent itself.

#define PR_SET_NAME 15 // include/uapi/linux/prctl.h
#define COMM_BYTES 16 // TASK_COMM_LEN, include/linux/sched.h

struct process_name_record {
	struct record_header header;
	char comm[COMM_BYTES];
};

struct thread_name {
	u64 exec_id; // task->self_exec_id: another program in the same thread is another
	char comm[COMM_BYTES];
	u32 tid;
	u32 reserved;
};

// When a name was last told; 2,048 a second. The kernel evicts the least recently
// used, which is then told again.
BPF_TABLE("lru_hash", struct thread_name, u64, told_names, 2048);

static __always_inline bool is_name_told(struct thread_name *name)
{
	u64 now = bpf_ktime_get_boot_ns();
	u64 *told = told_names.lookup(name);
	if (told && now - *told < ASK_NS)
		return true;
	told_names.update(name, &now);
	return false;
}

static __always_inline void process_name_body(struct task_struct *task)
{
	struct thread_name name = { .tid = READ(task, pid), .exec_id = READ(task, self_exec_id) };
	if (is_own_task(task))
		return;
	bpf_probe_read_kernel_str(name.comm, sizeof(name.comm), &task->comm);
	if (is_name_told(&name)) {
		count_repeated(SLOT_process_name);
		return;
	}
	struct process_name_record *record = reserve_activity(SLOT_process_name, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_process_name, sizeof(*record), task);
	__builtin_memcpy(record->comm, name.comm, sizeof(name.comm));
	submit_activity(SLOT_process_name, &record->header);
}

int process_name_exit(SYS_EXIT_CONTEXT *ctx)
{
	if (CALL_RESULT(ctx) != 0 || (u32)ARGUMENT_0(CALL_REGS(ctx)) != PR_SET_NAME)
		return 0;
	process_name_body(current_task());
	return 0;
}
