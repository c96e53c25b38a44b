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
// socket has no known owner (connected before the start), or when the task
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

#define ETH_P_IP 0x0800 // include/uapi/linux/if_ether.h
#define DNS_PORT 53
#define DNS_HEADER_BYTES 12 // RFC 1035 4.1.1
#define DNS_QUESTION_BYTES 5 // the root's name, QTYPE, QCLASS
#define DNS_RESPONSE 0x80 // QR, in the third byte
#define MESSAGE_BYTES 512 // a power of two, for the verifier; the first question ends by byte 271

struct dns_query_record {
	struct record_header header;
	struct socket_info socket;
	char data[MESSAGE_BYTES];
};

// Between whom a packet goes, and where in it: `at` begins as the place of the
// transport header and ends as that of the message.
struct packet {
	struct socket_info socket;
	u32 at;
	u32 reserved;
};

static __always_inline u16 big_endian(const u8 *bytes)
{
	return bytes[0] << 8 | bytes[1];
}

// RFC 791 3.1: a later fragment has no transport header.
static __always_inline bool read_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	u8 ip[20];
	if (bpf_skb_load_bytes(skb, 0, ip, sizeof(ip)))
		return false;
	packet->socket.family = AF_INET;
	packet->socket.protocol = ip[9];
	packet->at = (ip[0] & 0xf) * 4;
	__builtin_memcpy(packet->socket.local_address, ip + 12, 4);
	__builtin_memcpy(packet->socket.remote_address, ip + 16, 4);
	return !(big_endian(ip + 6) & 0x1fff);
}

// RFC 8200 3.
static __always_inline bool read_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	u8 ip[40];
	if (bpf_skb_load_bytes(skb, 0, ip, sizeof(ip)))
		return false;
	packet->socket.family = AF_INET6;
	packet->socket.protocol = ip[6];
	packet->at = sizeof(ip);
	__builtin_memcpy(packet->socket.local_address, ip + 8, 16);
	__builtin_memcpy(packet->socket.remote_address, ip + 24, 16);
	return true;
}

static __always_inline bool read_ports(struct __sk_buff *skb, struct packet *packet)
{
	u8 ports[4];
	if (packet->socket.protocol != IPPROTO_UDP && packet->socket.protocol != IPPROTO_TCP)
		return false;
	if (bpf_skb_load_bytes(skb, packet->at, ports, sizeof(ports)))
		return false;
	packet->socket.local_port = big_endian(ports);
	packet->socket.remote_port = big_endian(ports + 2);
	return true;
}

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

// Over TCP a message follows its length (RFC 1035 4.2.2); what begins with other
// than a length that a question can have, and a header that one has, continues a
// message and is left out.
static __always_inline bool begins_message(struct __sk_buff *skb, struct packet *packet)
{
	u8 start[2 + DNS_HEADER_BYTES];
	u8 words;
	if (bpf_skb_load_bytes(skb, packet->at + 12, &words, 1))
		return false;
	packet->at += (words >> 4) * 4;
	if (bpf_skb_load_bytes(skb, packet->at, start, sizeof(start)))
		return false;
	packet->at += 2;
	return big_endian(start) >= DNS_HEADER_BYTES + DNS_QUESTION_BYTES && !(start[4] & 0x78) && start[6] == 0 &&
	       start[7] != 0;
}

static __always_inline bool is_question(struct __sk_buff *skb, struct packet *packet)
{
	u8 flags;
	if (!(bpf_ntohs(skb->protocol) == ETH_P_IP ? read_ipv4(skb, packet) : read_ipv6(skb, packet)))
		return false;
	if (!read_ports(skb, packet) || !goes_to_dns(skb, packet))
		return false;
	if (packet->socket.protocol == IPPROTO_UDP)
		packet->at += 8;
	else if (!begins_message(skb, packet))
		return false;
	if (bpf_skb_load_bytes(skb, packet->at + 2, &flags, 1))
		return false;
	return !(flags & DNS_RESPONSE);
}

#define ANCESTORS 8 // a shell's pipeline in a supervised container is five deep

static __always_inline bool descends_from(struct task_struct *task, struct record_header *owner)
{
	for (int step = 0; step < ANCESTORS; step++) {
		struct task_struct *parent = READ(task, real_parent);
		task = READ(parent, group_leader);
		if (READ(task, tgid) == owner->tgid)
			return READ(task, start_boottime) == owner->started_ns;
	}
	return false;
}

static __always_inline void fill_asker(struct record_header *header, u64 cookie, u16 protocol)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct record_header *owner = socket_owners.lookup(&cookie);
	fill_header(header, KIND_dns_query, 0, task);
	if (owner && owner->tgid == header->tgid && owner->started_ns == header->started_ns)
		return;
	header->flags |= FLAG_OWNER_UNSURE;
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

static __always_inline void append_message(struct __sk_buff *skb, struct dns_query_record *record, u32 at)
{
	u32 bytes = skb->len - at;
	if (bytes > MESSAGE_BYTES)
		bytes = MESSAGE_BYTES;
	bytes = (bytes - 1) & (MESSAGE_BYTES - 1);
	asm volatile("" : "+r"(bytes)); // else clang proves the mask away, and the verifier does not follow
	bytes += 1;
	if (bpf_skb_load_bytes(skb, at, record->data, bytes)) {
		record->header.flags |= FLAG_READ_ERROR;
		return;
	}
	record->header.len += bytes;
}

static __always_inline void report_question(struct __sk_buff *skb, struct packet *packet)
{
	struct dns_query_record *record;
	struct record_header header;
	u64 cookie = socket_cookie(skb);
	fill_asker(&header, cookie, packet->socket.protocol);
	if (is_own(header.tgid))
		return;
	record = reserve_activity(SLOT_dns_query, sizeof(*record));
	if (!record)
		return;
	record->header = header;
	record->header.len = __builtin_offsetof(struct dns_query_record, data);
	record->socket = packet->socket;
	record->socket.cookie = cookie;
	if (packet->socket.protocol == IPPROTO_UDP && skb->gso_segs > 1)
		record->header.flags |= FLAG_TRUNCATED;
	append_message(skb, record, packet->at);
	submit_activity(SLOT_dns_query, &record->header);
}

int dns_query_egress(struct __sk_buff *skb)
{
	struct packet packet = {};
	if (is_question(skb, &packet))
		report_question(skb, &packet);
	return 1;
}
