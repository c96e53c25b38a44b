// SPDX-License-Identifier: GPL-2.0
//
// A packet at a socket, and the DNS message in it. Joined behind prelude_objects.c;
// nothing here is a hook.
//
// Blind to: IPv6 extension headers; later fragments; over TCP, messages that do
// not begin a segment.

#define ETH_P_IP 0x0800 // include/uapi/linux/if_ether.h
#define DNS_PORT 53
#define DNS_HEADER_BYTES 12 // RFC 1035 4.1.1
#define DNS_QUESTION_BYTES 5 // the root's name, QTYPE, QCLASS
#define DNS_RESPONSE 0x80 // QR, in the third byte

// Between whom a packet goes, local being who sent it, and where in it: `at` begins
// as the place of the transport header and ends as that of the message, which says
// that it has `bytes`.
struct packet {
	struct socket_info socket;
	u32 at;
	u32 bytes;
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

// UDP or TCP, up to its ports.
static __always_inline bool read_packet(struct __sk_buff *skb, struct packet *packet)
{
	u8 ports[4];
	if (!(bpf_ntohs(skb->protocol) == ETH_P_IP ? read_ipv4(skb, packet) : read_ipv6(skb, packet)))
		return false;
	if (packet->socket.protocol != IPPROTO_UDP && packet->socket.protocol != IPPROTO_TCP)
		return false;
	if (bpf_skb_load_bytes(skb, packet->at, ports, sizeof(ports)))
		return false;
	packet->socket.local_port = big_endian(ports);
	packet->socket.remote_port = big_endian(ports + 2);
	return true;
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
	packet->bytes = big_endian(start);
	return packet->bytes >= DNS_HEADER_BYTES + DNS_QUESTION_BYTES && !(start[4] & 0x78) && start[6] == 0 &&
	       start[7] != 0;
}

// Whether there is a DNS message whose QR is `response`: 0 or DNS_RESPONSE.
static __always_inline bool find_message(struct __sk_buff *skb, struct packet *packet, const u8 response)
{
	u8 flags;
	if (packet->socket.protocol == IPPROTO_UDP) {
		packet->at += 8;
		packet->bytes = skb->len - packet->at;
	} else if (!begins_message(skb, packet)) {
		return false;
	}
	if (bpf_skb_load_bytes(skb, packet->at + 2, &flags, 1))
		return false;
	return (flags & DNS_RESPONSE) == response;
}

// Copy what is there of the message, `room` bytes at most, a power of two for the
// verifier; return how many, 0 when they cannot be read.
static __always_inline u32 copy_message(struct __sk_buff *skb, struct packet *packet, void *data, const u32 room)
{
	u32 bytes = skb->len - packet->at;
	if (bytes > packet->bytes)
		bytes = packet->bytes;
	if (bytes > room)
		bytes = room;
	bytes = (bytes - 1) & (room - 1);
	asm volatile("" : "+r"(bytes)); // else clang proves the mask away, and the verifier does not follow
	bytes += 1;
	return bpf_skb_load_bytes(skb, packet->at, data, bytes) ? 0 : bytes;
}
