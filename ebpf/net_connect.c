// SPDX-License-Identifier: GPL-2.0
//
// net_connect: a TCP or UDP socket was told where to send.
//
// Hooks: cgroup connect4, connect6 (since 4.17), sendmsg4, sendmsg6 (since
// 4.18) at the root of cgroup2, which holds every socket of the host, in the
// task that asks. The address is the kernel's own copy, whatever the system
// call: connect, sendto, sendmmsg, TCP fast open, io_uring (via; the task is then
// the submitter or a worker thread of it); of multipath TCP it is the first subflow,
// with a cookie of its own. Task and kernel memory may be read here since 5.8
// (f470378c7562). The program never refuses a call.
//
// A datagram socket repeats itself (a resolver, a flood): only the first to each
// destination is reported, per socket. The rest is left out on purpose and is no
// loss; a destination is forgotten, and told again, when 8,192 newer ones came.
//
// Blind to: the result (0 here: a refused attempt looks like one that
// succeeded); protocols other than TCP and UDP (SCTP, DCCP, UDP-Lite, ping);
// raw and packet sockets; a disconnect (connect to AF_UNSPEC is no hook's
// business); sockets connected before the start (agent/sensor/existing tells
// them); where netfilter redirects to. An
// address that another cgroup program rewrote before us (a service's, by a CNI)
// is told as rewritten.
//
// Cost, measured on 6.18: 1.3 us a connect, 0.2 us a datagram to a known place.

#define AF_UNSPEC 0

struct net_connect_record {
	struct record_header header;
	u64 cookie;
	u8 remote_address[16];
	u16 family;
	u16 protocol;
	u16 remote_port;
	u16 connected;
};

struct destination {
	u64 cookie;
	u8 address[16];
	u16 port;
	u16 reserved[3];
};

// Key: one socket and where it sends; value: nothing. Room for the 8,192 sockets
// of socket_owners with one destination each; the kernel evicts the least
// recently used, which is then reported anew.
BPF_TABLE("lru_hash", struct destination, u8, destinations, 8192);

// The owner changes when a socket is passed on, the port with every sendto, so
// both are kept up to date.
static __always_inline bool is_remembered(struct destination *to, struct task_struct *task)
{
	struct record_header *owner = socket_owners.lookup(&to->cookie);
	return owner && owner->tgid == READ(task, tgid) && owner->reserved == to->port;
}

static __always_inline bool is_told(struct destination *to, u16 protocol)
{
	if (protocol == IPPROTO_UDP)
		return destinations.lookup(to) != 0;
	return protocol != IPPROTO_TCP;
}

static __always_inline void report(struct bpf_sock_addr *ctx, struct destination *to, u16 family, u16 connected)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct net_connect_record *record;
	struct record_header header;
	u16 protocol = ctx->protocol;
	u8 seen = 1;
	to->cookie = socket_cookie(ctx);
	to->port = bpf_ntohs(ctx->user_port);
	if (is_own_task(task))
		return;
	bool told = is_told(to, protocol);
	if (told && is_remembered(to, task))
		return;
	fill_header(&header, KIND_net_connect, sizeof(*record), task);
	header.reserved = to->port;
	socket_owners.update(&to->cookie, &header);
	if (told)
		return;
	record = reserve_activity(SLOT_net_connect, sizeof(*record));
	if (!record)
		return;
	record->header = header;
	record->header.reserved = 0;
	record->header.flags |= way_of_call(task); // not the owner's: an answer comes in no such way
	record->cookie = to->cookie;
	__builtin_memcpy(record->remote_address, to->address, 16);
	record->family = family;
	record->protocol = protocol;
	record->remote_port = to->port;
	record->connected = connected;
	submit_activity(SLOT_net_connect, &record->header);
	if (protocol == IPPROTO_UDP)
		destinations.update(to, &seen);
}

static __always_inline void report4(struct bpf_sock_addr *ctx, u16 connected)
{
	struct destination to = {};
	u32 address = ctx->user_ip4;
	__builtin_memcpy(to.address, &address, 4);
	report(ctx, &to, AF_INET, connected);
}

static __always_inline void report6(struct bpf_sock_addr *ctx, u16 connected)
{
	struct destination to = {};
	u32 address[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	__builtin_memcpy(to.address, address, 16);
	report(ctx, &to, AF_INET6, connected);
}

// A connect whose address is of another family fails after the hook has run.
int net_connect_connect4(struct bpf_sock_addr *ctx)
{
	if (ctx->user_family == AF_INET)
		report4(ctx, 1);
	return 1;
}

int net_connect_connect6(struct bpf_sock_addr *ctx)
{
	if (ctx->user_family == AF_INET6)
		report6(ctx, 1);
	return 1;
}

// udp_sendmsg takes AF_UNSPEC for AF_INET, and really sends.
int net_connect_sendmsg4(struct bpf_sock_addr *ctx)
{
	if (ctx->user_family == AF_INET || ctx->user_family == AF_UNSPEC)
		report4(ctx, 0);
	return 1;
}

int net_connect_sendmsg6(struct bpf_sock_addr *ctx)
{
	if (ctx->user_family == AF_INET6)
		report6(ctx, 0);
	return 1;
}
