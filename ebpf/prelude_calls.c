// SPDX-License-Identifier: GPL-2.0
//
// A system call that ends: its number, its result, its arguments as the kernel
// took them. Probes ask by these names alone, so that the same function serves
// every lane. Joined behind prelude.c; nothing here is a hook. With COMPAT_LANE
// defined the calls are those of i386: prelude_compat.c, which follows.

// What a classic syscalls:sys_exit_* tracepoint hands over
// (/sys/kernel/tracing/events/syscalls/sys_exit_openat/format).
struct sys_exit_context {
	u64 common;
	s32 id;
	u32 reserved; // not written
	s64 result;
};

// CALL_FLAGS is what the way that a call came in says of its record.
#ifndef COMPAT_LANE
#define SYS_EXIT_CONTEXT struct sys_exit_context
#define CALL_NUMBER(ctx) ((ctx)->id)
#define CALL_RESULT(ctx) ((ctx)->result)
#define CALL_REGS(ctx) syscall_regs()
#define CALL_FLAGS 0
#endif

// The user registers of the system call that is ending: the arguments as the
// kernel took them.
static __always_inline struct pt_regs *syscall_regs(void)
{
#if KERNEL_VALUE(bpf_func_id, BPF_FUNC_task_pt_regs) > 0
	return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
#else
	// Before 5.15; FRED's padding at the top of the stack came with 6.9.
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	char *stack = READ(task, stack);
	return (struct pt_regs *)(stack + THREAD_BYTES) - 1;
#endif
}

#if defined(__x86_64__) || defined(bpf_target_x86)
#define CALLED(regs) READ(regs, orig_ax)
#define O_DIRECTORY 0200000 // include/uapi/asm-generic/fcntl.h
#else
#define CALLED(regs) READ(regs, syscallno)
#define O_DIRECTORY 040000 // arch/arm64/include/uapi/asm/fcntl.h
#endif

#define SYS_IO_URING_ENTER 426 // everywhere, 32-bit calls included
#define PF_IO_WORKER 0x00000010 // include/linux/sched.h: a thread of io_uring's, the SQPOLL thread too

#define TS_COMPAT 2 // arch/x86/include/asm/thread_info.h

// Whether what the current task is in is a call of i386.
static __always_inline bool is_compat_call(struct task_struct *task)
{
#if KERNEL_HAS(thread_info, status)
	return READ(task, thread_info.status) & TS_COMPAT;
#else
	return false;
#endif
}

// For a hook that a call reaches whichever way it came: VIA_IO_URING in
// io_uring_enter and in the threads that io_uring made, which are threads of the
// process that asked. What it does on the way out of another call (behind others in
// a chain) cannot be told from that call. VIA_COMPAT in a call of i386.
static __always_inline u32 way_of_call(struct task_struct *task)
{
#if KERNEL_HAS(task_struct, io_uring)
	if (READ(task, flags) & PF_IO_WORKER)
		return VIA_IO_URING;
	struct pt_regs *regs = syscall_regs();
	if (READ(task, io_uring) && CALLED(regs) == SYS_IO_URING_ENTER)
		return VIA_IO_URING;
#endif
	return is_compat_call(task) ? VIA_COMPAT : 0;
}

// System call arguments and numbers by architecture: arch/x86/entry/syscalls/syscall_64.tbl,
// include/uapi/asm-generic/unistd.h. -1: arm64 has none, and -1 is no number that a call ends with.
// Those of i386 the loader defines (agent/sensor/ebpf/i386.py).
#ifdef COMPAT_LANE
#define THREAD_BYTES (4 * PAGE_SIZE)
#elif defined(__x86_64__) || defined(bpf_target_x86)
#define THREAD_BYTES (4 * PAGE_SIZE)
#define SYS_OPEN 2
#define SYS_CREAT 85
#define SYS_OPENAT2 437
#define SYS_OPEN_BY_HANDLE_AT 304
#define SYS_RENAME 82
#define SYS_RENAMEAT 264
#define SYS_RENAMEAT2 316
#define SYS_LINK 86
#define SYS_LINKAT 265
#define SYS_SYMLINK 88
#define SYS_SYMLINKAT 266
#define SYS_UNLINK 87
#define SYS_UNLINKAT 263
#define SYS_RMDIR 84
#define SYS_CHMOD 90
#define SYS_FCHMOD 91
#define SYS_FCHMODAT 268
#define SYS_FCHMODAT2 452
#define SYS_CHOWN 92
#define SYS_LCHOWN 94
#define SYS_FCHOWN 93
#define SYS_FCHOWNAT 260
#define SYS_LCHOWN32 -1 // i386 alone, as the next
#define SYS_FCHOWN32 -1
#define SYS_TRUNCATE 76
#define SYS_FTRUNCATE 77
#define SYS_TRUNCATE64 -1 // i386 alone, as the next
#define SYS_FTRUNCATE64 -1
#define SYS_CHDIR 80
#define SYS_FCHDIR 81
#define SYS_CHROOT 161
#define SYS_PIVOT_ROOT 155
#define SYS_SETNS 308
#define SYS_UNSHARE 272
#define SYS_MOUNT 165
#define SYS_MOVE_MOUNT 429
#define SYS_FSOPEN 430
#define SYS_FSCONFIG 431
#define SYS_OPEN_TREE 428
#define SYS_OPEN_TREE_ATTR 467
#define SYS_PROCESS_VM_WRITEV 311
#define SYS_PWRITE64 18
#define SYS_KEXEC_LOAD 246
#define SYS_KEXEC_FILE_LOAD 320
#define SYS_INIT_MODULE 175
#define SYS_FINIT_MODULE 313
#define ARGUMENT_0(regs) READ(regs, di)
#define ARGUMENT_1(regs) READ(regs, si)
#define ARGUMENT_2(regs) READ(regs, dx)
#define ARGUMENT_3(regs) READ(regs, r10)
#define ARGUMENT_4(regs) READ(regs, r8)
#define ARGUMENT_5(regs) READ(regs, r9)
#else
#define THREAD_BYTES 16384
#define SYS_OPEN -1
#define SYS_CREAT -1
#define SYS_OPENAT2 437
#define SYS_OPEN_BY_HANDLE_AT 265
#define SYS_RENAME -1
#define SYS_RENAMEAT 38
#define SYS_RENAMEAT2 276
#define SYS_LINK -1
#define SYS_LINKAT 37
#define SYS_SYMLINK -1
#define SYS_SYMLINKAT 36
#define SYS_UNLINK -1
#define SYS_UNLINKAT 35
#define SYS_RMDIR -1
#define SYS_CHMOD -1
#define SYS_FCHMOD 52
#define SYS_FCHMODAT 53
#define SYS_FCHMODAT2 452
#define SYS_CHOWN -1
#define SYS_LCHOWN -1
#define SYS_FCHOWN 55
#define SYS_FCHOWNAT 54
#define SYS_LCHOWN32 -1
#define SYS_FCHOWN32 -1
#define SYS_TRUNCATE 45
#define SYS_FTRUNCATE 46
#define SYS_TRUNCATE64 -1 // i386 alone, as the next
#define SYS_FTRUNCATE64 -1
#define SYS_CHDIR 49
#define SYS_FCHDIR 50
#define SYS_CHROOT 51
#define SYS_PIVOT_ROOT 41
#define SYS_SETNS 268
#define SYS_UNSHARE 97
#define SYS_MOUNT 40
#define SYS_MOVE_MOUNT 429
#define SYS_FSOPEN 430
#define SYS_FSCONFIG 431
#define SYS_OPEN_TREE 428
#define SYS_OPEN_TREE_ATTR 467
#define SYS_PROCESS_VM_WRITEV 271
#define SYS_PWRITE64 68
#define SYS_KEXEC_LOAD 104
#define SYS_KEXEC_FILE_LOAD 294
#define SYS_INIT_MODULE 105
#define SYS_FINIT_MODULE 273
#define ARGUMENT_0(regs) READ(regs, orig_x0)
#define ARGUMENT_1(regs) READ(regs, regs[1])
#define ARGUMENT_2(regs) READ(regs, regs[2])
#define ARGUMENT_3(regs) READ(regs, regs[3])
#define ARGUMENT_4(regs) READ(regs, regs[4])
#define ARGUMENT_5(regs) READ(regs, regs[5])
#endif
