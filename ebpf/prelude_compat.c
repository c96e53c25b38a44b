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
