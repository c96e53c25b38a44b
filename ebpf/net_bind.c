// SPDX-License-Identifier: GPL-2.0
//
// net_bind: a TCP or UDP socket was given an address of this host.
//
// Hooks: cgroup bind4, bind6 (since 4.17) at the root of cgroup2, which holds
// every socket of the host, in the task that asks. The address is the kernel's
// own copy, whatever the system call: bind, io_uring; of multipath TCP it is the
// first subflow, with a cookie of its own. Task and kernel memory may be read
// here since 5.8 (f470378c7562). The program never refuses a call.
//
// Blind to: the result (0 here: what is refused because the port is taken or
// privileged looks like what succeeded); the port that the kernel chooses where 0
// is asked for (net_listen has it); sockets that are bound by connect, sendto or
// listen without being asked; protocols other than TCP and UDP; raw and packet
// sockets; what was bound before the start (agent/sensor/existing tells of UDP).
// An address that another cgroup program rewrote before us is told as rewritten.
//
// Cost, measured on 6.18: 1.0 us a call.

struct net_bind_record {
	struct record_header header;
	u64 cookie;
	u8 local_address[16];
	u16 family;
	u16 protocol;
	u16 local_port;
	u16 reserved;
};

static __always_inline void net_bind_body(struct bpf_sock_addr *ctx, u16 family, const u32 *address)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct net_bind_record *record;
	u16 protocol = ctx->protocol;
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || is_own_task(task))
		return;
	record = reserve_activity(SLOT_net_bind, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_net_bind, sizeof(*record), task);
	record->header.flags |= way_of_call(task);
	record->cookie = socket_cookie(ctx);
	__builtin_memcpy(record->local_address, address, 16);
	record->family = family;
	record->protocol = protocol;
	record->local_port = bpf_ntohs(ctx->user_port);
	record->reserved = 0;
	submit_activity(SLOT_net_bind, &record->header);
}

// inet_bind takes AF_UNSPEC for AF_INET where every address is meant, and refuses
// an address of another family after the hook has run.
int net_bind_bind4(struct bpf_sock_addr *ctx)
{
	u32 address[4] = { ctx->user_ip4 };
	if (ctx->user_family == AF_INET || (ctx->user_family == 0 && !address[0]))
		net_bind_body(ctx, AF_INET, address);
	return 1;
}

int net_bind_bind6(struct bpf_sock_addr *ctx)
{
	u32 address[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	if (ctx->user_family == AF_INET6)
		net_bind_body(ctx, AF_INET6, address);
	return 1;
}
