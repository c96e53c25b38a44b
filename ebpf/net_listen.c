// SPDX-License-Identifier: GPL-2.0
//
// net_listen: an internet socket was told to wait for connections, or was refused.
//
// Hook: the classic tracepoint syscalls:sys_exit_listen (since 2.6.33), in the
// caller. Protocol, address and port are those of struct sock after the call, so
// that a port which the kernel chose is known, too.
//
// Where threads share the descriptor table the record says fd_shared. When the
// call succeeded and the descriptor no longer names a socket that listens it says
// fd_raced, and shows the socket that is there, or none.
//
// Blind to: io_uring (IORING_OP_LISTEN, since 6.11); sockets
// other than AF_INET and AF_INET6, so also, in a shared table, the swap of the
// socket for one of theirs that listens; datagram sockets, which only bind; what
// listened before the start (agent/sensor/existing tells it), and listening sockets that are handed over.
//
// Cost, measured on 6.18: 1.4 us a call.

struct net_listen_record {
	struct record_header header;
	struct socket_info socket;
	u32 fd;
	u32 reserved;
};

// What was asked; `trust` is what looking up its descriptor came to (FLAG_*).
struct listen_call {
	s64 result;
	s32 fd;
	u32 trust;
};

// `sk` is 0 when the descriptor no longer named a socket.
static __always_inline void net_listen_body(struct task_struct *task, struct sock *sk, struct listen_call *call)
{
	struct net_listen_record *record = reserve_activity(SLOT_net_listen, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_net_listen, sizeof(*record), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	record->fd = call->fd;
	record->reserved = 0;
	__builtin_memset(&record->socket, 0, sizeof(record->socket));
	if (sk)
		fill_socket(&record->socket, sk);
	submit_activity(SLOT_net_listen, &record->header);
}

int net_listen_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct listen_call call = { .result = CALL_RESULT(ctx), .fd = ARGUMENT_0(CALL_REGS(ctx)) };
	if (is_own_task(task))
		return 0;
	struct file *file = fd_file(task, call.fd, &call.trust);
	struct sock *sk = file ? file_socket(file) : 0;
	if (call.result == 0 && call.trust & FLAG_FD_SHARED && !(sk && is_listening(sk)))
		call.trust |= FLAG_FD_RACED;
	if (sk && !is_internet(sk))
		sk = 0;
	if (sk || (call.result == 0 && call.trust & FLAG_FD_RACED))
		net_listen_body(task, sk, &call);
	return 0;
}
