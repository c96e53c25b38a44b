// SPDX-License-Identifier: GPL-2.0
//
// bpf: somebody else put a program or map into the kernel, hung one in or took it
// off, wrote into a map, or tried to; `ours` says that it is one of ours.
//
// Hook: the classic tracepoint syscalls:sys_exit_bpf (since 3.18), in the caller; what
// failed is told, too. Lifecycle ring: a flood of file opens must not evict it.
//
// What was made or touched is read from the kernel's own object; which descriptor was
// touched, and all that is told of a refused load, is the caller's word (user_memory).
// An object is taken for one only when the kernel named its file.
//
// A write into a map, and whatever fails, is told once a second for the same program,
// object and outcome, and otherwise counted as repeated. Of all who ask for a descriptor
// by an id, only those are told who ask for a map of ours: they could read our rings.
//
// Blind to: programs hung in by ioctl on a perf event (the event itself is perf_event),
// by netlink (tc, XDP) or setsockopt; maps written through mmap or by programs;
// lookups; pinning; a descriptor that is taken from us (pidfd_getfd).

#define BPF_TARGET_BYTES 512 // KSYM_NAME_LEN, include/linux/kallsyms.h
#define BPF_NAME_BYTES 16 // BPF_OBJ_NAME_LEN, include/uapi/linux/bpf.h
#define BPF_OPERATION 0x80000 // beside the others' in struct access; plus the type and the command
#define BPF_COMMAND_MASK 0xffff // above it are marks: BPF_COMMON_ATTRS
#define BPF_TYPE_MASK 63 // of 33 program types and 34 map types

#define COMMAND(name) (1ULL << (name))
#define MAP_WRITES(suffix) \
	(COMMAND(BPF_MAP_UPDATE_##suffix) | COMMAND(BPF_MAP_DELETE_##suffix) | COMMAND(BPF_MAP_LOOKUP_AND_DELETE_##suffix))
#define BPF_BATCHES MAP_WRITES(BATCH)
#define BPF_WRITES (BPF_BATCHES | MAP_WRITES(ELEM))
#define BPF_HANGS (COMMAND(BPF_RAW_TRACEPOINT_OPEN) | COMMAND(BPF_LINK_CREATE))
#define BPF_MAKES (BPF_HANGS | COMMAND(BPF_MAP_CREATE) | COMMAND(BPF_MAP_GET_FD_BY_ID) | COMMAND(BPF_PROG_LOAD))
#define BPF_ATTACHES (COMMAND(BPF_PROG_ATTACH) | COMMAND(BPF_PROG_DETACH))
#define BPF_CHANGES (BPF_ATTACHES | COMMAND(BPF_MAP_FREEZE) | COMMAND(BPF_LINK_UPDATE) | COMMAND(BPF_LINK_DETACH))
#define BPF_TOLD (BPF_WRITES | BPF_MAKES | BPF_CHANGES)

#define KNOWN_MAP 1
#define KNOWN_PROGRAM 2
#define KNOWN_LINK 4
#define KNOWN_ATTACH_TYPE 8
#define KNOWN_FUNCTION 16

struct bpf_seen {
	u32 id; // 0: none was given out
	u32 type;
	char name[BPF_NAME_BYTES];
};

struct bpf_record {
	struct record_header header;
	u32 command;
	u32 known;
	u32 ours;
	u32 attach_type;
	struct bpf_seen map;
	struct bpf_seen program;
	u32 link_id;
	u32 link_type;
	char function[BPF_TARGET_BYTES];
};

struct bpf_call {
	s64 result;
	u32 command;
	u32 trust;
	void *map; // as void: bcc has types of the names that these are made of
	void *program;
	void *link;
	u32 map_id;
	u32 program_id;
	u32 link_id;
	u32 ours;
	union bpf_attr attr;
};

static __always_inline bool is_one_of(u32 command, u64 commands)
{
	return command < 64 && (commands >> command & 1);
}

static __always_inline s32 bpf_descriptor(struct bpf_call *call)
{
	union bpf_attr *attr = &call->attr;
	if (is_one_of(call->command, BPF_MAKES) && call->result >= 0)
		return call->result;
	call->trust |= FLAG_USER_MEMORY;
	if (is_one_of(call->command, BPF_BATCHES))
		return attr->batch.map_fd;
	if (is_one_of(call->command, BPF_ATTACHES))
		return attr->attach_bpf_fd ? attr->attach_bpf_fd : -1;
	if (call->command == BPF_RAW_TRACEPOINT_OPEN)
		return attr->raw_tracepoint.prog_fd;
	if (call->command == BPF_MAP_CREATE || call->command == BPF_PROG_LOAD)
		return -1;
	return attr->map_fd; // the first field, as are link_create.prog_fd, link_update.link_fd, link_detach.link_fd
}

// A call that succeeded had an object behind its descriptor; one that is not there any
// more was taken away.
static __always_inline void find_objects(struct task_struct *task, struct bpf_call *call)
{
	u32 trust = 0;
	s32 fd = bpf_descriptor(call);
	struct file *file = fd >= 0 ? fd_file(task, fd, &trust) : 0;
	u64 name = file ? anonymous_name(file) : 0;
	if (name == NAME_8("bpf-map"))
		call->map = READ(file, private_data);
	if (name == NAME_8("bpf-prog"))
		call->program = READ(file, private_data);
	if (name == NAME_8("bpf_link") || name == NAME_8("bpf-link")) // as it was made, and as it was found by its id
		call->link = READ(file, private_data);
	if (call->link)
		call->program = READ_AT(void *, call->link, KERNEL_OFFSET(bpf_link, prog));
	if (call->map || call->program || call->link)
		call->trust |= trust;
	else if (fd >= 0 && call->result >= 0)
		call->trust |= trust | FLAG_FD_RACED;
}

static __always_inline void identify(struct bpf_call *call)
{
	if (call->map) {
		call->map_id = READ_AT(u32, call->map, KERNEL_OFFSET(bpf_map, id));
		call->ours |= is_own_object(OBJECT_MAP | call->map_id);
	}
	if (call->program) {
		void *aux = READ_AT(void *, call->program, KERNEL_OFFSET(bpf_prog, aux));
		call->program_id = READ_AT(u32, aux, KERNEL_OFFSET(bpf_prog_aux, id));
		call->ours |= is_own_object(OBJECT_PROGRAM | call->program_id);
	}
	if (call->link) {
		call->link_id = READ_AT(u32, call->link, KERNEL_OFFSET(bpf_link, id));
		call->ours |= is_own_object(OBJECT_LINK | call->link_id);
	}
}

static __always_inline bool is_bpf_told(struct task_struct *task, struct bpf_call *call)
{
	if (call->result >= 0 && !is_one_of(call->command, BPF_WRITES | COMMAND(BPF_MAP_GET_FD_BY_ID)))
		return false;
	u32 type = is_one_of(call->command, BPF_MAKES) ? call->attr.prog_type & BPF_TYPE_MASK : 0; // or map_type
	struct access access = {
		.target_started_ns = call->map_id,
		.target_tgid = call->link_id ? call->link_id : call->program_id,
		.operation = BPF_OPERATION | type << 8 | call->command,
		.error = call->result < 0 ? call->result : 0,
	};
	return is_access_told(task, &access);
}

static __always_inline void fill_map(struct bpf_record *record, struct bpf_call *call)
{
	record->known |= KNOWN_MAP;
	record->map.id = call->map_id;
	record->map.type = call->attr.map_type;
	__builtin_memcpy(record->map.name, call->attr.map_name, BPF_NAME_BYTES);
	if (!call->map)
		return;
	record->map.type = READ_AT(u32, call->map, KERNEL_OFFSET(bpf_map, map_type));
	bpf_probe_read_kernel(record->map.name, BPF_NAME_BYTES, (char *)call->map + KERNEL_OFFSET(bpf_map, name));
}

static __always_inline void fill_program(struct bpf_record *record, struct bpf_call *call)
{
	record->known |= KNOWN_PROGRAM | KNOWN_ATTACH_TYPE;
	record->program.id = call->program_id;
	record->program.type = call->attr.prog_type;
	record->attach_type = call->attr.expected_attach_type;
	__builtin_memcpy(record->program.name, call->attr.prog_name, BPF_NAME_BYTES);
	if (!call->program)
		return;
	char *aux = READ_AT(void *, call->program, KERNEL_OFFSET(bpf_prog, aux));
	record->program.type = READ_AT(u32, call->program, KERNEL_OFFSET(bpf_prog, type));
	record->attach_type = READ_AT(u32, call->program, KERNEL_OFFSET(bpf_prog, expected_attach_type));
	bpf_probe_read_kernel(record->program.name, BPF_NAME_BYTES, aux + KERNEL_OFFSET(bpf_prog_aux, name));
}

// Where a program hangs: the function it was loaded for, or the raw tracepoint of its link.
static __always_inline void fill_function(struct bpf_record *record, struct bpf_call *call)
{
	char *name = 0;
	if (call->program) {
		void *aux = READ_AT(void *, call->program, KERNEL_OFFSET(bpf_prog, aux));
		name = READ_AT(void *, aux, KERNEL_OFFSET(bpf_prog_aux, attach_func_name));
	}
	if (call->link && record->link_type == KERNEL_VALUE(bpf_link_type, BPF_LINK_TYPE_RAW_TRACEPOINT)) {
		void *event = READ_AT(void *, call->link, KERNEL_OFFSET(bpf_raw_tp_link, btp));
		void *tracepoint = READ_AT(void *, event, KERNEL_OFFSET(bpf_raw_event_map, tp));
		name = READ_AT(void *, tracepoint, KERNEL_OFFSET(tracepoint, name));
	}
	if (name && bpf_probe_read_kernel_str(record->function, BPF_TARGET_BYTES, name) > 0)
		record->known |= KNOWN_FUNCTION;
}

static __always_inline void fill_bpf(struct bpf_record *record, struct bpf_call *call)
{
	record->command = call->command;
	record->ours = call->ours;
	if (call->map || call->command == BPF_MAP_CREATE)
		fill_map(record, call);
	if (call->program || call->command == BPF_PROG_LOAD)
		fill_program(record, call);
	if (is_one_of(call->command, BPF_ATTACHES)) {
		record->known |= KNOWN_ATTACH_TYPE;
		record->attach_type = call->attr.attach_type;
	}
	if (call->link) {
		record->known |= KNOWN_LINK;
		record->link_id = call->link_id;
		record->link_type = READ_AT(u32, call->link, KERNEL_OFFSET(bpf_link, type));
	}
	fill_function(record, call);
}

static __always_inline void bpf_body(struct task_struct *task, struct bpf_call *call)
{
	find_objects(task, call);
	identify(call);
	if (call->command == BPF_MAP_GET_FD_BY_ID && !call->ours)
		return;
	if (is_bpf_told(task, call)) {
		count_repeated(SLOT_bpf);
		return;
	}
	struct bpf_record *record = reserve_lifecycle(SLOT_bpf, sizeof(*record));
	if (!record)
		return;
	__builtin_memset(record, 0, sizeof(*record));
	fill_header(&record->header, KIND_bpf, sizeof(*record), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	fill_bpf(record, call);
	submit_lifecycle(SLOT_bpf, &record->header);
}

int bpf_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct bpf_call call = { .result = CALL_RESULT(ctx), .command = ARGUMENT_0(regs) & BPF_COMMAND_MASK };
	u32 size = ARGUMENT_2(regs);
	if (!is_one_of(call.command, BPF_TOLD) || is_own_task(task))
		return 0;
	size = size < sizeof(call.attr) ? size : sizeof(call.attr);
	if (bpf_probe_read_user(&call.attr, size, (void *)ARGUMENT_1(regs)))
		call.trust = FLAG_READ_ERROR;
	bpf_body(task, &call);
	return 0;
}
