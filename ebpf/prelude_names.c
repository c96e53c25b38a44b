// SPDX-License-Identifier: GPL-2.0
//
// A file as a call names it: what the caller wrote, and the directory that this is
// relative to, from kernel objects. Joined behind prelude_objects.c; nothing here is
// a hook.
//
// There is one walk a name, always from the base: the process's root for a name that
// begins with a slash, its working directory, or the file of the descriptor. So a
// name inside a chroot or a container comes out as the mount namespace sees it. A
// call that takes a descriptor and no name has the base alone, which is the file.
//
// What the caller wrote may have changed since the kernel took its copy
// (user_memory). Root and working directory may be shared with other tasks, as may
// the descriptor table: both say fd_shared. Links in what was written are not
// followed; that is all that a call leaves behind.

#define AT_FDCWD -100 // include/uapi/linux/fcntl.h
#define AT_EMPTY_PATH 0x1000
#define NAME_CHUNKS 9 // of 511 bytes: PATH_MAX (4096), beyond which no call takes a name

#define NAME_HAS_TEXT 1
#define NAME_HAS_BASE 2
#define NAME_LACKS_START 4 // only the end of a long text is there

struct name_source {
	u64 address; // of the text; 0: there is none, and the descriptor is what is meant
	s32 dirfd;
	u32 in_kernel; // the address is that of the kernel's own copy (struct filename)
	u32 cut_from; // first character of a text of which only the end is there, else 0
	u32 reserved;
};

static __always_inline long read_text(void *to, struct name_source *source, u64 skip)
{
	const void *from = (const void *)(source->address + skip);
	if (source->in_kernel)
		return bpf_probe_read_kernel_str(to, NAME_TEXT_BYTES, from);
	return bpf_probe_read_user_str(to, NAME_TEXT_BYTES, from);
}

// A name padded with slashes must not lose its leaf: where in the text its last
// NAME_TEXT_BYTES begin, 0 when that is all of it. `to` is overwritten.
static __always_inline u64 text_end(void *to, struct name_source *source)
{
	u64 skip = NAME_TEXT_BYTES - 1;
	for (int chunk = 1; chunk < NAME_CHUNKS; chunk++) {
		long length = read_text(to, source, skip);
		if (length <= 0)
			break;
		skip += length - 1;
		if (length < NAME_TEXT_BYTES)
			break;
	}
	return skip - (NAME_TEXT_BYTES - 1);
}

// Append the text at header.len, where NAME_ROOM bytes must be left below `limit`;
// returns its first byte: 0 when it is empty or could not be read.
static __always_inline char append_text(struct record_header *header, const u32 limit, struct name_info *info,
					struct name_source *source)
{
	u32 at = *(volatile u32 *)&header->len;
	if (at > limit - NAME_TEXT_BYTES)
		return 0;
	char *to = (char *)header + at;
	long length = read_text(to, source, 0);
	char first = *to;
	if (length == NAME_TEXT_BYTES) {
		u64 start = text_end(to, source);
		length = read_text(to, source, start);
		if (start) {
			info->known |= NAME_LACKS_START;
			header->flags |= FLAG_TRUNCATED;
		}
	}
	if (length <= 0) {
		header->flags |= FLAG_READ_ERROR;
		return 0;
	}
	if (source->cut_from) {
		first = source->cut_from;
		info->known |= NAME_LACKS_START;
		header->flags |= FLAG_TRUNCATED;
	}
	if (!source->in_kernel)
		header->flags |= FLAG_USER_MEMORY;
	info->known |= NAME_HAS_TEXT;
	header->len = at + length;
	return first;
}

// From where the walk begins; without a dentry when the descriptor is gone.
static __always_inline struct path name_base(struct task_struct *task, struct name_source *source, char first,
					     u32 *flags)
{
	struct fs_struct *fs = READ(task, fs);
	struct path base = {};
	if (first == '/' || source->dirfd == AT_FDCWD) {
		if (READ(fs, users) > 1)
			*flags |= FLAG_FD_SHARED;
		return first == '/' ? READ(fs, root) : READ(fs, pwd);
	}
	struct file *file = fd_file_by_reads(task, source->dirfd, flags);
	return file ? READ(file, f_path) : base;
}

// Append one name at header.len, at most up to `limit`, below which NAME_ROOM bytes
// must be left; returns what the record needs to tell where its parts are.
static __always_inline struct name_info append_named(struct task_struct *task, struct record_header *header,
						     const u32 limit, struct name_source *source)
{
	struct name_info info = { .text = header->len };
	struct path base = {};
	u32 trust = 0;
	char first = source->address ? append_text(header, limit, &info, source) : 0;
	info.base = header->len;
	if (!source->address || info.known & NAME_HAS_TEXT)
		base = name_base(task, source, first, &trust);
	header->flags |= trust;
	if (base.dentry) {
		info.known |= NAME_HAS_BASE;
		append_path(header, limit, base);
	}
	info.end = header->len;
	return info;
}

// Append two names, the first where NAME_ROOM bytes are left below `limit` for the
// second: `infos` and `sources` are two each.
static __always_inline void append_two_names(struct task_struct *task, struct record_header *header, const u32 limit,
					     struct name_info *infos, struct name_source *sources)
{
	ROLLED for (int which = 0; which < 2; which++)
		infos[which] = append_named(task, header, which ? limit : limit - NAME_ROOM, &sources[which]);
}
