// SPDX-License-Identifier: GPL-2.0
//
// dns_answer: a DNS answer reached a socket of this host.
//
// Hook: cgroup_skb ingress (since 4.10) at the root of cgroup2: once for each
// packet that a socket of the host is given. The text is that of the packet. The
// program never drops a packet.
//
// An answer is a message that is a response, from port 53 over UDP or TCP. What
// netfilter had sent elsewhere (Docker's resolver on 127.0.0.11) comes back under
// the address and port that were asked. Whoever has the host's network can forge
// one: that it was asked for is not looked into.
//
// Who asked: the owner of the socket, which net_connect remembers by its cookie;
// the running task is anybody. FLAG_OWNER_UNSURE goes along when dns_query saw
// somebody else ask on that socket.
//
// Blind to: sockets without a known owner: those that 8,192 newer ones made the
// kernel forget, and servers, so that what strangers send them makes no events; of
// those that are older than the sensor, sockets that are connected to another port
// or to none (until they ask again) and those that agent/sensor/existing misses;
// what dns_query is blind to in questions (other ports, IPv6 extension headers, over
// TCP messages that do not begin a segment); of a message what stands behind its first segment or byte 1,024 (flagged
// as truncated); answers to packet and raw sockets, and to a network whose packets
// this host forwards.
//
// Cost, measured on 6.18: 0.07 us a packet to a socket that is connected elsewhere,
// 0.4 us an answer.

#define ANSWER_BYTES 1024 // a power of two, for the verifier; most resolvers keep to 1,232 (DNS flag day 2020)

struct dns_answer_record {
	struct record_header header;
	struct socket_info socket;
	char data[ANSWER_BYTES];
};

// Most packets go to sockets that are connected elsewhere: these go back before
// anything of the packet is read.
static __always_inline bool may_hear_dns(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	if (!sk)
		return false;
	u16 told = sk->dst_port;
	return !told || told == bpf_htons(DNS_PORT);
}

static __always_inline void fill_ends(struct socket_info *info, struct packet *packet, u64 cookie)
{
	info->cookie = cookie;
	__builtin_memcpy(info->local_address, packet->socket.remote_address, 16);
	__builtin_memcpy(info->remote_address, packet->socket.local_address, 16);
	info->family = packet->socket.family;
	info->protocol = packet->socket.protocol;
	info->local_port = packet->socket.remote_port;
	info->remote_port = packet->socket.local_port;
}

// Our own sockets have no owner: net_connect leaves them out.
static __always_inline void report_answer(struct __sk_buff *skb, struct packet *packet)
{
	u64 cookie = socket_cookie(skb);
	struct record_header *owner = socket_owners.lookup(&cookie);
	struct dns_answer_record *record;
	u32 bytes;
	if (!owner)
		return;
	record = reserve_activity(SLOT_dns_answer, sizeof(*record));
	if (!record)
		return;
	record->header = *owner;
	record->header.time_ns = bpf_ktime_get_boot_ns();
	record->header.cpu = bpf_get_smp_processor_id();
	record->header.kind = KIND_dns_answer;
	record->header.reserved = 0;
	fill_ends(&record->socket, packet, cookie);
	bytes = copy_message(skb, packet, record->data, ANSWER_BYTES);
	if (!bytes)
		record->header.flags |= FLAG_READ_ERROR;
	else if (bytes < packet->bytes)
		record->header.flags |= FLAG_TRUNCATED;
	record->header.len = __builtin_offsetof(struct dns_answer_record, data) + bytes;
	submit_activity(SLOT_dns_answer, &record->header);
}

int dns_answer_ingress(struct __sk_buff *skb)
{
	struct packet packet = {};
	if (!may_hear_dns(skb) || !read_packet(skb, &packet) || packet.socket.local_port != DNS_PORT)
		return 1;
	if (find_message(skb, &packet, DNS_RESPONSE))
		report_answer(skb, &packet);
	return 1;
}
