// SPDX-License-Identifier: GPL-2.0
//
// unix_connect: a socket of this host (AF_UNIX) was connected to another by name,
// or was refused.
//
// Hook: the classic tracepoint syscalls:sys_exit_connect (since 2.6.33), in the
// caller. The name is the kernel's own: that which the other end was bound to, from
// its struct unix_sock. A connect that was refused has no other end: then the name
// is what the caller wrote, and the record says user_memory.
//
// The same program that connects to the same bound name within a second is counted
// as repeated and not told. What was refused is always told.
//
// Where threads share the descriptor table the record says fd_shared. When the
// descriptor names no AF_UNIX socket with another end any more, though the caller
// wrote such an address or the call succeeded on such a socket, it says fd_raced,
// and the name is what the caller wrote.
//
// Blind to: io_uring; datagrams sent without connect; socket
// pairs; connections that are handed over or inherited. A path is that of bind, in
// the mount namespace and directory of who bound it, and not told anew when the
// file is renamed or mounted elsewhere. In a shared table a decoy socket is named,
// and a decoy whose address was rewritten to another family escapes, as does a
// refused connect whose address was.
//
// Cost, measured on 6.18: 1.9 us a connect, 0.8 us one that is repeated, 0.4 us
// one of another family.

#define AF_UNIX 1 // include/linux/socket.h
#define SUN_PATH_BYTES 108 // UNIX_PATH_MAX, include/uapi/linux/un.h
#define UNIX_REPEAT_NS 1000000000ULL // shorter than anybody needs to tell two connects apart

struct unix_connect_record {
	struct record_header header;
	u32 type;
	u32 reserved;
	char data[SUN_PATH_BYTES + 4]; // four more, for the alignment of the whole
};

// One program and one name: struct unix_address is shared by all that are accepted
// under it, and lives as long as one of them.
struct unix_visit {
	u64 address;
	u64 exec_id; // task->self_exec_id: another program in the same process is another client
	u64 tgid;
};

// When a connect was last told; 4,096 programs within a second. The kernel evicts
// the least recently used, which is then told again.
BPF_TABLE("lru_hash", struct unix_visit, u64, last_unix_visits, 4096);

// What was asked; `trust` is what looking up its descriptor came to (FLAG_*).
struct unix_call {
	s64 result;
	u64 user_address;
	u32 user_bytes;
	u32 trust;
	u32 type;
	u32 reserved;
};

static __always_inline bool is_repeated_unix(struct task_struct *task, struct unix_address *address)
{
	u64 now_ns = bpf_ktime_get_boot_ns();
	struct unix_visit visit = {
		.address = (u64)address,
		.exec_id = READ(task, self_exec_id),
		.tgid = READ(task, tgid),
	};
	u64 *told_ns = last_unix_visits.lookup(&visit);
	if (told_ns && now_ns - *told_ns < UNIX_REPEAT_NS)
		return true;
	last_unix_visits.update(&visit, &now_ns);
	return false;
}

// What stands behind the two bytes of the family.
static __always_inline u32 name_bytes(u32 address_bytes)
{
	u32 bytes = address_bytes > 2 ? address_bytes - 2 : 0;
	return bytes < SUN_PATH_BYTES ? bytes : SUN_PATH_BYTES;
}

static __always_inline void append_bound_name(struct unix_connect_record *record, struct unix_address *address)
{
	u32 bytes = name_bytes(READ(address, len));
	if (bpf_probe_read_kernel(record->data, bytes, &address->name[0].sun_path))
		record->header.flags |= FLAG_READ_ERROR;
	else
		record->header.len += bytes;
}

static __always_inline void append_asked_name(struct unix_connect_record *record, struct unix_call *call)
{
	u32 bytes = name_bytes(call->user_bytes);
	record->header.flags |= FLAG_USER_MEMORY;
	if (bpf_probe_read_user(record->data, bytes, (void *)(call->user_address + 2)))
		record->header.flags |= FLAG_READ_ERROR;
	else
		record->header.len += bytes;
}

// `address` is 0 where there is no other end to read it from.
static __always_inline void unix_connect_body(struct task_struct *task, struct unix_address *address,
					      struct unix_call *call)
{
	struct unix_connect_record *record = reserve_activity(SLOT_unix_connect, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_unix_connect, __builtin_offsetof(struct unix_connect_record, data), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	record->type = call->type;
	record->reserved = 0;
	if (address)
		append_bound_name(record, address);
	else
		append_asked_name(record, call);
	submit_activity(SLOT_unix_connect, &record->header);
}

static __always_inline bool asks_for_unix(struct unix_call *call)
{
	u16 family = 0;
	bpf_probe_read_user(&family, sizeof(family), (void *)call->user_address);
	return family == AF_UNIX;
}

static __always_inline void unix_connect_by_socket(struct task_struct *task, struct sock *sk, struct unix_call *call)
{
	struct sock *peer = READ((struct unix_sock *)sk, peer);
	struct unix_address *address = 0;
	call->type = READ(sk, sk_type);
	if (call->result == 0 && peer)
		address = READ((struct unix_sock *)peer, addr);
	if (address && is_repeated_unix(task, address)) {
		count_repeated(SLOT_unix_connect);
		return;
	}
	if (!address && !asks_for_unix(call))
		return; // a disconnect (AF_UNSPEC), or no address at all
	if (!address && call->result == 0)
		call->trust |= FLAG_FD_RACED;
	unix_connect_body(task, address, call);
}

// Most connects are of another family and go back after the look at the socket.
int unix_connect_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct unix_call call = { .result = CALL_RESULT(ctx) };
	struct file *file = fd_file(task, (s32)ARGUMENT_0(regs), &call.trust);
	struct sock *sk = file ? file_socket(file) : 0;
	bool is_unix = sk && READ(sk, __sk_common.skc_family) == AF_UNIX;
	if ((!is_unix && !(call.trust & FLAG_FD_SHARED)) || is_own_task(task))
		return 0;
	call.user_address = ARGUMENT_1(regs);
	call.user_bytes = ARGUMENT_2(regs);
	if (is_unix) {
		unix_connect_by_socket(task, sk, &call);
	} else if (asks_for_unix(&call)) {
		call.trust |= FLAG_FD_RACED;
		unix_connect_body(task, 0, &call);
	}
	return 0;
}
