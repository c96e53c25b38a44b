// SPDX-License-Identifier: GPL-2.0
//
// dns_query: a DNS question left this host, or for a resolver on it.
//
// Hook: cgroup_skb egress (since 4.10) at the root of cgroup2: once for each
// packet that a socket of the host sends, before it is fragmented. The text is
// that of the packet. Task and kernel memory may be read here since 5.8
// (f470378c7562). The program never drops a packet.
//
// A question is a message that is no response, sent to port 53 over UDP or TCP;
// also one whose socket was told port 53 and which netfilter sends elsewhere
// (Docker's resolver on 127.0.0.11): local and remote are those of the packet.
//
// Who asked: the owner of the socket, which net_connect remembers by its cookie,
// when it is the running task; then, and only then, nothing is said. Otherwise
// FLAG_OWNER_UNSURE goes along with the best there is: the running task when the
// socket has no known owner (an old one, not yet told of), or when the task
// descends from the owner and the question goes over UDP, which is sent in the
// context of the sender (a child on a socket that it inherited); else the owner
// (TCP may be sent from an interrupt in a stranger's time, and what a verdict of
// NFQUEUE lets go leaves in the time of the filter).
//
// Blind to: other ports (853, 443, 5353); IPv6 extension headers; fragments that
// a raw socket made by itself; packet sockets; over TCP, messages that do not
// begin a segment (a second question in it, one whose length was sent by itself),
// while a segment that is sent again is reported again; the second and later
// datagrams of one UDP_SEGMENT send (flagged as truncated); questions after the
// first of a message; what stands behind byte 512 of one, where no name can be.
//
// Cost, measured on 6.18: 0.1 us a packet, 1.0 us a question.

#define MESSAGE_BYTES 512 // a power of two, for the verifier; the first question ends by byte 271

struct dns_query_record {
	struct record_header header;
	struct socket_info socket;
	char data[MESSAGE_BYTES];
};

// The port that the packet goes to, or that its socket was told before netfilter
// sent it elsewhere. An unconnected socket was told by sendto.
static __always_inline bool goes_to_dns(struct __sk_buff *skb, struct packet *packet)
{
	struct bpf_sock *sk = skb->sk;
	struct record_header *owner;
	u64 cookie;
	if (packet->socket.remote_port == DNS_PORT)
		return true;
	if (!sk)
		return false;
	u16 told = sk->dst_port;
	if (told || packet->socket.protocol == IPPROTO_TCP)
		return told == bpf_htons(DNS_PORT);
	cookie = socket_cookie(skb);
	owner = socket_owners.lookup(&cookie);
	return owner && owner->reserved == DNS_PORT;
}

#define NS_PER_TICK 10000000ULL // USER_HZ is 100, include/asm-generic/param.h

// The agent knows who owns a socket that is older than the probes to the tick alone.
static __always_inline bool is_start_of(struct record_header *owner, u64 started_ns)
{
	return owner->started_ns / NS_PER_TICK == started_ns / NS_PER_TICK;
}

#define ANCESTORS 8 // a shell's pipeline in a supervised container is five deep

static __always_inline bool descends_from(struct task_struct *task, struct record_header *owner)
{
	for (int step = 0; step < ANCESTORS; step++) {
		struct task_struct *parent = READ(task, real_parent);
		task = READ(parent, group_leader);
		if (READ(task, tgid) == owner->tgid)
			return is_start_of(owner, READ(task, start_boottime));
	}
	return false;
}

static __always_inline void fill_asker(struct record_header *header, u64 cookie, u16 protocol)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct record_header *owner = socket_owners.lookup(&cookie);
	fill_header(header, KIND_dns_query, 0, task);
	if (owner && owner->tgid == header->tgid && is_start_of(owner, header->started_ns))
		return;
	header->flags |= FLAG_OWNER_UNSURE;
	if (owner)
		owner->flags = FLAG_OWNER_UNSURE; // the answer, too, may be somebody else's
	if (!owner || (protocol == IPPROTO_UDP && descends_from(task, owner)))
		return;
	u64 time_ns = header->time_ns;
	u32 cpu = header->cpu;
	*header = *owner;
	header->time_ns = time_ns;
	header->cpu = cpu;
	header->kind = KIND_dns_query;
	header->flags = FLAG_OWNER_UNSURE;
	header->reserved = 0;
}

static __always_inline void report_question(struct __sk_buff *skb, struct packet *packet)
{
	struct dns_query_record *record;
	struct record_header header;
	u64 cookie = socket_cookie(skb);
	u32 bytes;
	fill_asker(&header, cookie, packet->socket.protocol);
	if (is_own(header.tgid))
		return;
	record = reserve_activity(SLOT_dns_query, sizeof(*record));
	if (!record)
		return;
	record->header = header;
	record->socket = packet->socket;
	record->socket.cookie = cookie;
	if (packet->socket.protocol == IPPROTO_UDP && skb->gso_segs > 1)
		record->header.flags |= FLAG_TRUNCATED;
	bytes = copy_message(skb, packet, record->data, MESSAGE_BYTES);
	if (!bytes)
		record->header.flags |= FLAG_READ_ERROR;
	record->header.len = __builtin_offsetof(struct dns_query_record, data) + bytes;
	submit_activity(SLOT_dns_query, &record->header);
}

int dns_query_egress(struct __sk_buff *skb)
{
	struct packet packet = {};
	if (read_packet(skb, &packet) && goes_to_dns(skb, &packet) && find_message(skb, &packet, 0))
		report_question(skb, &packet);
	return 1;
}
