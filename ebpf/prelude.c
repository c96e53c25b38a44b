// SPDX-License-Identifier: GPL-2.0
//
// What every probe shares: the record header, the two rings and the loss counters;
// what a system call says and how the kernel's own objects are read follows in
// prelude_calls.c and prelude_objects.c.
//
// The loader joins this file with each probe's into one text, because bcc
// rewrites the main file only. Nothing here is a hook.
//
// Rules that the verifier and preemption made:
// - a record is built in ring memory (ringbuf_reserve), never in per-CPU
//   scratch, which another task may overwrite half-way since Linux 5.11;
// - the write offset of variable text lives in the record (header.len) and is
//   read again at each step: kept in a register it costs a million states.
//
// Fields are read with READ(), which takes an address and lets the compiler
// compute it; the loader compares the offsets in the emitted code with BTF.

// The same pointer, as one that the verifier believes (agent/sensor/ebpf/casts.py).
static void *(*believed)(const void *pointer, u32 type) = (void *)CAST_HELPER;

#define IS_NUMBER(type_class) ((type_class) == 1 || (type_class) == 3 || (type_class) == 4 || (type_class) == 5)

// Reads pointer->field from kernel memory; a fault leaves 0. A number or a pointer in
// a struct of the kernel's is one load where the kernel believes a pointer, else a call
// that takes twenty times as long.
#define READ(pointer, field)                                                   \
	({                                                                     \
		typeof((pointer)->field) value_;                               \
		const u32 type_ = kernel_type_of(pointer);                     \
		if (type_ && IS_NUMBER(__builtin_classify_type((pointer)->field))) \
			__builtin_memcpy((void *)&value_, &((typeof(pointer))believed(pointer, type_))->field, sizeof(value_)); \
		else                                                           \
			bpf_probe_read_kernel(&value_, sizeof(value_), &(pointer)->field); \
		value_;                                                        \
	})

// Reads pointer->field where the verifier knows what `pointer` is: a plain load, a
// twentieth of READ()'s price. `known` is a constant: false costs nothing either.
#define LOAD(known, pointer, field) ((known) ? (pointer)->field : READ(pointer, field))

// Reads the pointer that lies at an address: as of any struct that begins with one.
#define READ_POINTER(address) ((void *)READ((struct path *)(address), mnt))

// Reads what lies at KERNEL_OFFSET of a struct that cannot be spelled here, because
// bcc brings types of the same names as those that it is made of (bpf_prog).
#define READ_AT(type, pointer, offset)                                         \
	({                                                                     \
		type value_ = 0;                                               \
		bpf_probe_read_kernel(&value_, sizeof(value_), (char *)(pointer) + (offset)); \
		value_;                                                        \
	})

// Asked of BTF by the loader, for every pair named in the text: 1 or 0, the
// enumerator's value or -1, the field's offset in bytes.
#define KERNEL_HAS(type, field) KERNEL_HAS_##type##__##field
#define KERNEL_VALUE(type, enumerator) KERNEL_VALUE_##type##__##enumerator
#define KERNEL_OFFSET(type, field) KERNEL_OFFSET_##type##__##field

// A loop that clang keeps a loop: unrolled, its body is compiled once for each round.
#define ROLLED _Pragma("clang loop unroll(disable)")

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer) - __builtin_offsetof(type, member)))

#define NAME_BYTES 256 // NAME_MAX (255) and its NUL, include/uapi/linux/limits.h
#define NAME_TEXT_BYTES 512 // of a name as a caller wrote it; of a longer one the end
#define NAME_ROOM 1024 // for that and the path it is relative to
#define PATH_STEPS 48 // names and mount points on the way to the root; more is truncated and flagged
#define CGROUP_STEPS 16 // kubepods nest five deep, systemd user sessions eight

// How far a record can be trusted; agent/probes/header.py names them.
#define FLAG_TRUNCATED (1 << 0)
#define FLAG_USER_MEMORY (1 << 1)
#define FLAG_FD_SHARED (1 << 2)
#define FLAG_FD_RACED (1 << 3)
#define FLAG_READ_ERROR (1 << 4)
#define FLAG_OWNER_UNSURE (1 << 5)
#define FLAG_OUTCOME_UNKNOWN (1 << 6)
#define FLAG_SAMPLED (1 << 7) // set by no hook: of what was seen when somebody looked (agent/sensor/userspace)
#define FLAG_ENVIRONMENT_CUT (1 << 8)
#define FLAG_EXISTING (1 << 23) // set by no hook: of records of what was there before (agent/sensor/existing)

// By which way a call came in, in the same word: agent/probes/header.py names them.
#define VIA_IO_URING (1 << 24)
#define VIA_COMPAT (2 << 24)

struct record_header {
	u64 time_ns;
	u64 started_ns;
	u64 cgroup_id;
	s64 result;
	u32 kind;
	u32 len;
	u32 flags;
	u32 cpu;
	u32 tgid;
	u32 tid;
	u32 ns_tgid;
	u32 mnt_ns;
	u32 pid_ns;
	u32 uid;
	u32 euid;
	u32 gid;
	u32 egid;
	u32 reserved;
};

struct socket_info {
	u64 cookie;
	u8 local_address[16];
	u8 remote_address[16];
	u16 family;
	u16 protocol;
	u16 local_port;
	u16 remote_port;
};

struct file_info {
	u64 inode;
	u64 size_bytes;
	u64 changed_at_ns;
	u32 device;
	u32 mode_raw;
	u32 upper;
	u32 memfd;
	u32 unlinked;
	u32 reserved;
};

struct target_info {
	u64 started_ns;
	u32 tgid; // 0: no such process
	u32 number; // as the caller called it: a thread, in the caller's namespace
};

// Where the parts of a name are in a record, counted from its beginning
// (prelude_names.c): what the caller wrote, and the path of what that is relative to.
struct name_info {
	u32 text;
	u32 base;
	u32 end;
	u32 known; // NAME_*
};

struct loss {
	u64 submitted;
	u64 repeated; // known already and left out on purpose: no loss
	u64 failed;
	u64 truncated;
	u64 read_error;
	u64 throttled; // of a cgroup that was over its budget
};

// A flood of one cgroup, kept in a map for the agent to tell (ebpf/throttled.c).
struct throttled_record {
	struct record_header header; // of who was over the budget first, and when
	u64 since_ns; // written by the agent: header.time_ns, which becomes the time of telling
	u64 withheld;
};

// Two rings, so that a flood of files cannot evict an exec. A wake-up costs the
// caller some 10 us, so only a program that starts, which must be looked at while
// it lives, and what is rare wake the reader (submit_lifecycle_now); the rest is
// read with it, on a timer, or after WAKE_EVERY records of a kind.
#define WAKE_EVERY 256 // of the longest record (file_open, 1.4 KiB) a third of the ring
BPF_RINGBUF_OUTPUT(lifecycle, LIFECYCLE_PAGES);
BPF_RINGBUF_OUTPUT(activity, ACTIVITY_PAGES);

// Key: 0; value: 1 while the reader waits for a record, written by it. Whoever is awake
// looks into the rings again before it waits, and need not be woken: in a storm of
// programs hardly any pays for that.
BPF_ARRAY(reader_waits, u32, 1);

// Key: the slot of a probe in this load. Only ever added to.
BPF_ARRAY(losses, struct loss, PROBE_COUNT);

// Key: the slot of a probe in this load; value: 1 when its kind is switched off.
// Written by the agent, at any time.
BPF_ARRAY(policy, u32, PROBE_COUNT);

// Key: tgid of the agent, of its children at the start, and of the 15 more that can
// be configured. Written by the agent; process_exit takes out who ended.
BPF_HASH(own_tgids, u32, u8, 18);

// Key: OBJECT_* and, in the lower half, the id of a program, map or link of ours; 1,024
// is four times what there is. Written by the agent; ids are not used again soon.
BPF_HASH(own_objects, u64, u8, 1024);
#define OBJECT_MAP (1ULL << 32) // agent/sensor/ebpf/ourselves.py
#define OBJECT_PROGRAM (2ULL << 32)
#define OBJECT_LINK (3ULL << 32)

// Key: socket cookie; value: the header of whoever connected it or last sent on
// it, with the port it was told in `reserved`. 8,192 sockets that ask DNS or send
// datagrams at one time; the kernel evicts the least recently used. The agent adds
// those that are older than the probes (agent/sensor/ebpf/owners.py).
BPF_TABLE("lru_hash", u64, struct record_header, socket_owners, 8192);

// bcc 0.26 declares bpf_get_socket_cookie with 32 bits; a cookie made inside an
// interrupt counts down from 2^64 (gen_cookie_next, include/linux/cookie.h).
static u64 (*socket_cookie)(void *context) = (void *)BPF_FUNC_get_socket_cookie;

// Under names of our own: for each call by its usual one bcc asks whether the kernel
// has it, and reads all of /proc/kallsyms for the answer, a third of the compile time.
static long (*read_user)(void *to, u32 bytes, const void *from) = (void *)BPF_FUNC_probe_read_user;
static long (*read_user_str)(void *to, u32 bytes, const void *from) = (void *)BPF_FUNC_probe_read_user_str;
#define bpf_probe_read_user read_user
#define bpf_probe_read_user_str read_user_str

static __always_inline bool is_own(u32 tgid)
{
	return own_tgids.lookup(&tgid) != 0;
}

static __always_inline bool is_own_object(u64 key)
{
	return own_objects.lookup(&key) != 0;
}

static __always_inline bool is_own_task(struct task_struct *task)
{
	return is_own(READ(task, tgid));
}

static __always_inline bool is_switched_off(u32 slot)
{
	u32 *off = policy.lookup(&slot);
	return off && *off;
}

static __always_inline void count_failed(u32 slot)
{
	struct loss *loss = losses.lookup(&slot);
	if (loss)
		__sync_fetch_and_add(&loss->failed, 1);
}

static __always_inline void *reserve_lifecycle(u32 slot, const u64 size)
{
	if (is_switched_off(slot))
		return 0;
	void *record = lifecycle.ringbuf_reserve(size);
	if (!record)
		count_failed(slot);
	return record;
}

static __always_inline void *reserve_activity(u32 slot, const u64 size)
{
	if (is_switched_off(slot))
		return 0;
	void *record = activity.ringbuf_reserve(size);
	if (!record)
		count_failed(slot);
	return record;
}

static __always_inline void count_repeated(u32 slot)
{
	struct loss *loss = losses.lookup(&slot);
	if (loss)
		__sync_fetch_and_add(&loss->repeated, 1);
}

static __always_inline void count_throttled(u32 slot)
{
	struct loss *loss = losses.lookup(&slot);
	if (loss)
		__sync_fetch_and_add(&loss->throttled, 1);
}

static __always_inline void count_submitted(struct loss *loss, u32 flags)
{
	if (!loss)
		return;
	__sync_fetch_and_add(&loss->submitted, 1);
	if (flags & FLAG_TRUNCATED)
		__sync_fetch_and_add(&loss->truncated, 1);
	if (flags & FLAG_READ_ERROR)
		__sync_fetch_and_add(&loss->read_error, 1);
}

// Counts the record and says whether its reader is due: every WAKE_EVERY of a kind.
static __always_inline u64 wake_when_due(u32 slot, struct record_header *header)
{
	struct loss *loss = losses.lookup(&slot);
	bool due = loss && loss->submitted % WAKE_EVERY == 0;
	count_submitted(loss, header->flags);
	return due ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void submit_lifecycle(u32 slot, struct record_header *header)
{
	lifecycle.ringbuf_submit(header, wake_when_due(slot, header));
}

// Forced: behind records that did not wake, the kernel would not by itself.
static __always_inline void submit_lifecycle_now(u32 slot, struct record_header *header)
{
	u32 only = 0;
	u32 *waits = reader_waits.lookup(&only);
	count_submitted(losses.lookup(&slot), header->flags);
	lifecycle.ringbuf_submit(header, waits && *waits ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void discard_lifecycle(struct record_header *header)
{
	lifecycle.ringbuf_discard(header, BPF_RB_NO_WAKEUP);
}

static __always_inline void submit_activity(u32 slot, struct record_header *header)
{
	activity.ringbuf_submit(header, wake_when_due(slot, header));
}
