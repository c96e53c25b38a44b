// SPDX-License-Identifier: GPL-2.0
//
// fd_dup: an internet socket was put on descriptor 0, 1 or 2.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{dup,dup2,dup3,fcntl} (since
// 2.6.33), in the caller. Anything but a result of 0-2 goes back at once, and
// fcntl also unless its command is F_DUPFD or F_DUPFD_CLOEXEC. The record goes
// through the lifecycle ring: rare, and half of a reverse shell.
//
// Both descriptors are looked up. Where threads share the table the record says
// fd_shared, or fd_raced when the two no longer are one file; one of them being
// an internet socket is then enough.
//
// Blind to: a socket that gets 0-2 as the lowest free number
// from socket, accept or SCM_RIGHTS, or from pidfd_getfd or io_uring; a program
// started with a socket there by its parent (process_exec has its descriptors);
// a proxy or pipe between socket and shell; sockets other than AF_INET and
// AF_INET6.

#define F_DUPFD 0 // include/uapi/asm-generic/fcntl.h
#define F_DUPFD_CLOEXEC 1030 // include/uapi/linux/fcntl.h
#define LAST_STDIO 2

struct fd_dup_record {
	struct record_header header;
	struct socket_info socket;
	u32 old_fd;
	u32 new_fd;
};

struct dup_call {
	s32 old_fd;
	s32 new_fd;
	u32 trust;
};

static __always_inline void fd_dup_body(struct task_struct *task, struct sock *sk, struct dup_call *call)
{
	struct fd_dup_record *record = reserve_lifecycle(SLOT_fd_dup, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_fd_dup, sizeof(*record), task);
	fill_socket(&record->socket, sk);
	record->header.result = call->new_fd;
	record->header.flags |= call->trust;
	record->old_fd = call->old_fd;
	record->new_fd = call->new_fd;
	submit_lifecycle_now(SLOT_fd_dup, &record->header);
}

static __always_inline bool is_stdio(s64 fd)
{
	return fd >= 0 && fd <= LAST_STDIO;
}

// dup2 of a descriptor onto itself changes nothing.
static __always_inline void fd_dup_by_fd(struct dup_call *call)
{
	struct task_struct *task = current_task();
	if (call->old_fd == call->new_fd)
		return;
	struct file *copy = fd_file(task, call->new_fd, &call->trust);
	struct file *original = fd_file(task, call->old_fd, &call->trust);
	struct sock *sk = internet_socket(copy);
	if (copy != original)
		call->trust |= FLAG_FD_RACED;
	if (!sk)
		sk = internet_socket(original);
	if (sk)
		fd_dup_body(task, sk, call);
}

// dup, dup2 and dup3 alike: the first argument is what was copied.
int fd_dup_exit_dup(SYS_EXIT_CONTEXT *ctx)
{
	s64 result = CALL_RESULT(ctx);
	if (!is_stdio(result))
		return 0;
	struct pt_regs *regs = CALL_REGS(ctx);
	struct dup_call call = { .old_fd = ARGUMENT_0(regs), .new_fd = result };
	fd_dup_by_fd(&call);
	return 0;
}

int fd_dup_exit_fcntl(SYS_EXIT_CONTEXT *ctx)
{
	s64 result = CALL_RESULT(ctx);
	if (!is_stdio(result))
		return 0;
	struct pt_regs *regs = CALL_REGS(ctx);
	u32 command = ARGUMENT_1(regs);
	if (command != F_DUPFD && command != F_DUPFD_CLOEXEC)
		return 0;
	struct dup_call call = { .old_fd = ARGUMENT_0(regs), .new_fd = result };
	fd_dup_by_fd(&call);
	return 0;
}
