// SPDX-License-Identifier: GPL-2.0
//
// net_accept: a connection was taken from a listening internet socket.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{accept,accept4} (since 2.6.33
// and 2.6.28), in the caller, when a descriptor came of it. Both ends are those of
// struct sock of the new descriptor.
//
// The same program that takes another connection from the same remote address on
// the same local port within a second is counted as repeated and not told: a busy
// server behind a balancer would say nothing new, thousands of times.
//
// Where threads share the descriptor table the record says fd_shared. When the new
// descriptor names no internet socket any more, or one that listens, and the
// listening one is one, it says fd_raced, shows the socket that is there, or none,
// and is always told.
//
// Blind to: io_uring; connections that wait in the backlog; what
// was accepted before the start (agent/sensor/existing tells it), and connections that are handed over to another
// process (SCM_RIGHTS, fork); sockets other than AF_INET and AF_INET6. In a shared
// table a decoy connection is named in the place of the true one, or, told within
// the second before, hides it.
//
// Cost, measured on 6.18: 2.2 us a connection, 0.9 us one that is repeated.

#define ACCEPT_REPEAT_NS 1000000000ULL // shorter than anybody needs to tell two visits apart

struct visit {
	u8 remote_address[16];
	u64 exec_id; // task->self_exec_id: another program in the same process is another server
	u32 tgid;
	u16 local_port;
	u16 protocol;
};

// When a visit was last told; 8,192 remote addresses within a second. The kernel
// evicts the least recently used, which is then told again.
BPF_TABLE("lru_hash", struct visit, u64, last_visits, 8192);

struct net_accept_record {
	struct record_header header;
	struct socket_info socket;
	u32 fd;
	u32 listening_fd;
};

// What was asked; `trust` is what looking up its descriptors came to (FLAG_*).
struct accept_call {
	s64 fd;
	s32 listening_fd;
	u32 trust;
};

static __always_inline bool is_repeated_visit(struct task_struct *task, struct socket_info *info)
{
	u64 now_ns = bpf_ktime_get_boot_ns();
	struct visit visit = {
		.exec_id = READ(task, self_exec_id),
		.tgid = READ(task, tgid),
		.local_port = info->local_port,
		.protocol = info->protocol,
	};
	__builtin_memcpy(visit.remote_address, info->remote_address, 16);
	u64 *told_ns = last_visits.lookup(&visit);
	if (told_ns && now_ns - *told_ns < ACCEPT_REPEAT_NS)
		return true;
	last_visits.update(&visit, &now_ns);
	return false;
}

static __always_inline void net_accept_body(struct task_struct *task, struct sock *sk, struct accept_call *call)
{
	struct net_accept_record *record;
	struct socket_info info = {};
	if (sk)
		fill_socket(&info, sk);
	if (!(call->trust & FLAG_FD_RACED) && is_repeated_visit(task, &info)) {
		count_repeated(SLOT_net_accept);
		return;
	}
	record = reserve_activity(SLOT_net_accept, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_net_accept, sizeof(*record), task);
	record->header.result = call->fd;
	record->header.flags |= call->trust;
	record->socket = info;
	record->fd = call->fd;
	record->listening_fd = call->listening_fd;
	submit_activity(SLOT_net_accept, &record->header);
}

// What was accepted neither is of another family nor listens. In a table of its own
// nobody can have put such a socket there.
static __always_inline bool is_decoy(struct task_struct *task, struct sock *sk, struct accept_call *call)
{
	u32 ignored = 0;
	if (!(call->trust & FLAG_FD_SHARED) || (sk && !is_listening(sk)))
		return false;
	return sk || internet_socket(fd_file(task, call->listening_fd, &ignored));
}

// accept and accept4 alike.
int net_accept_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct accept_call call = { .fd = CALL_RESULT(ctx) };
	if (call.fd < 0 || is_own_task(task))
		return 0;
	call.listening_fd = ARGUMENT_0(CALL_REGS(ctx));
	struct sock *sk = internet_socket(fd_file(task, call.fd, &call.trust));
	if (is_decoy(task, sk, &call))
		call.trust |= FLAG_FD_RACED;
	else if (!sk)
		return 0;
	net_accept_body(task, sk, &call);
	return 0;
}
