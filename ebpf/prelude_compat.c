// SPDX-License-Identifier: GPL-2.0
//
// The compat lane: system calls of i386 on a kernel of x86-64, made by 32-bit
// programs and by int 0x80 from any program. Classic tracepoints skip them; the
// raw tracepoint sys_exit (since 3.4), which sees every call of the host, has them.
//
// Joined behind prelude_calls.c in a load of its own (agent/sensor/ebpf/compat.py),
// with COMPAT_LANE defined. The functions of the probes are the same: they are
// called by number, through compat_calls, and what they ask of a call is answered
// from the registers of i386.
//
// The arguments of socketcall, and of the mmap that came before mmap2, are in the
// memory of the caller: read again here, and the record says user_memory.
//
// Blind to: x32, whose calls are those of x86-64 with another number.

#define SYS_EXIT_CONTEXT struct bpf_raw_tracepoint_args
#define CALL_NUMBER(ctx) compat_number(CALL_REGS(ctx))
#define CALL_RESULT(ctx) ((s64)(ctx)->args[1])
#define CALL_REGS(ctx) ((struct pt_regs *)(ctx)->args[0])
#define CALL_FLAGS compat_flags(syscall_regs())
#define ARGUMENT_0(regs) compat_argument(regs, READ(regs, bx), 0)
#define ARGUMENT_1(regs) compat_argument(regs, READ(regs, cx), 1)
#define ARGUMENT_2(regs) compat_argument(regs, READ(regs, dx), 2)
#define ARGUMENT_3(regs) compat_argument(regs, READ(regs, si), 3)
#define ARGUMENT_4(regs) compat_argument(regs, READ(regs, di), 4)
#define ARGUMENT_5(regs) compat_argument(regs, READ(regs, bp), 5)

// arch/x86/entry/syscalls/syscall_32.tbl
#define I386_UMOUNT 22 // without flags, unlike umount2
#define I386_MMAP 90
#define I386_SOCKETCALL 102
#define I386_SOCKET 359
#define I386_CONNECT 362
#define I386_LISTEN 363
#define I386_ACCEPT4 364
#define I386_CALLS 512 // 470 in Linux 6.18

// Where a call has its arguments in memory; 0 where they are in registers.
static __always_inline u64 compat_block(struct pt_regs *regs)
{
	u32 number = READ(regs, orig_ax);
	if (number == I386_SOCKETCALL)
		return (u32)READ(regs, cx);
	return number == I386_MMAP ? (u32)READ(regs, bx) : 0;
}

static __always_inline u64 compat_argument(struct pt_regs *regs, u32 argument, const u32 position)
{
	u64 block = compat_block(regs);
	if (block)
		bpf_probe_read_user(&argument, sizeof(argument), (void *)(block + position * sizeof(argument)));
	if (position == 1 && READ(regs, orig_ax) == I386_UMOUNT)
		return 0;
	return argument;
}

static __always_inline u32 compat_flags(struct pt_regs *regs)
{
	return VIA_COMPAT | (compat_block(regs) ? FLAG_USER_MEMORY : 0);
}

// What socketcall does (include/uapi/linux/net.h), where a probe is for it. i386 has
// no accept of its own.
static __always_inline u32 socketcall_number(u32 call)
{
	if (call == 1)
		return I386_SOCKET;
	if (call == 3)
		return I386_CONNECT;
	if (call == 4)
		return I386_LISTEN;
	return call == 5 || call == 18 ? I386_ACCEPT4 : I386_SOCKETCALL;
}

static __always_inline u32 compat_number(struct pt_regs *regs)
{
	u32 number = READ(regs, orig_ax);
	return number == I386_SOCKETCALL ? socketcall_number(READ(regs, bx)) : number;
}

BPF_PROG_ARRAY(compat_calls, I386_CALLS);

// Nearly every call of the host ends here, at the first question.
int compat_dispatch(struct bpf_raw_tracepoint_args *ctx)
{
	if (is_compat_call((struct task_struct *)bpf_get_current_task()))
		compat_calls.call(ctx, CALL_NUMBER(ctx));
	return 0;
}

// Whether a 32-bit program runs, for who attaches the dispatcher while one does. Three
// more hooks, in the task that acts: the raw tracepoints sched_process_exec (since 3.4),
// sched_process_fork and sched_process_exit (since 2.6.31); about 0.1 us each.
//
// Blind to: int 0x80, and a far jump into 32-bit code, in a program of x86-64.

// Key: tgid of a 32-bit program. Written by exec and fork here and by the agent, which
// looks through /proc at its start; taken out by exec and exit. 4,096 programs at one
// time: of more the rest is missed once those have ended.
BPF_HASH(compat_programs, u32, u8, 4096);

// Wakes the agent: the tgid of a 32-bit program that has just begun. That some are
// lost when it is full does no harm: what is there says the same.
BPF_RINGBUF_OUTPUT(compat_started, 1);

#define ELF_CLASS_32 1 // include/uapi/linux/elf.h
#define EM_386 3 // include/uapi/linux/elf-em.h
#define EM_486 6

struct elf_start {
	u32 magic;
	u8 class;
	u8 unread[13];
	u16 machine;
};

// What the kernel has read of the program: of a script's interpreter for a script.
static __always_inline bool is_compat_program(struct linux_binprm *bprm)
{
	struct elf_start start = {};
	bpf_probe_read_kernel(&start, sizeof(start), &bprm->buf);
	return start.magic == 0x464c457f && start.class == ELF_CLASS_32 &&
	       (start.machine == EM_386 || start.machine == EM_486);
}

int compat_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	u32 tgid = READ(task, tgid);
	u8 one = 1;
	if (is_compat_program((struct linux_binprm *)ctx->args[2])) {
		compat_programs.update(&tgid, &one);
		compat_started.ringbuf_output(&tgid, sizeof(tgid), BPF_RB_FORCE_WAKEUP);
	} else if (compat_programs.lookup(&tgid)) {
		compat_programs.delete(&tgid);
	}
	return 0;
}

int compat_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *child = (struct task_struct *)ctx->args[1];
	u32 parent = READ((struct task_struct *)ctx->args[0], tgid);
	u32 tgid = READ(child, tgid);
	u8 one = 1;
	if (tgid != parent && compat_programs.lookup(&parent))
		compat_programs.update(&tgid, &one);
	return 0;
}

int compat_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	struct signal_struct *signal = READ(task, signal);
	u32 tgid = READ(task, tgid);
	if (compat_programs.lookup(&tgid) && READ(signal, live.counter) == 0)
		compat_programs.delete(&tgid);
	return 0;
}
