/* SPDX-License-Identifier: MIT */
/*
 * 9P2000.L on the wire. Numbers are little-endian, strings have their length in 16 bits before them
 * and no NUL. A message is size[4] type[1] tag[2] and what the type says; an answer's type is its
 * request's plus one, or P9_RLERROR.
 */
#ifndef RINGLET_FS_P9_PROTO_H
#define RINGLET_FS_P9_PROTO_H

#define P9_HEADER_BYTES 7u
/* Of an Rread or Rreaddir before the data. */
#define P9_READ_HEADER_BYTES (P9_HEADER_BYTES + 4u)
#define P9_QID_BYTES 13u
#define P9_WALK_MAX 16u
#define P9_MSIZE_MIN 4096u
#define P9_VERSION "9P2000.L"
#define P9_NO_FID 0xffffffffu
#define P9_NO_UID 0xffffffffu
#define P9_FS_MAGIC 0x01021997u /* of statfs */

enum p9_type {
	P9_RLERROR = 7,
	P9_TSTATFS = 8,
	P9_TLOPEN = 12,
	P9_TLCREATE = 14,
	P9_TSYMLINK = 16,
	P9_TMKNOD = 18,
	P9_TRENAME = 20,
	P9_TREADLINK = 22,
	P9_TGETATTR = 24,
	P9_TSETATTR = 26,
	P9_TXATTRWALK = 30,
	P9_TXATTRCREATE = 32,
	P9_TREADDIR = 40,
	P9_TFSYNC = 50,
	P9_TLOCK = 52,
	P9_TGETLOCK = 54,
	P9_TLINK = 70,
	P9_TMKDIR = 72,
	P9_TRENAMEAT = 74,
	P9_TUNLINKAT = 76,
	P9_TVERSION = 100,
	P9_TAUTH = 102,
	P9_TATTACH = 104,
	P9_TFLUSH = 108,
	P9_TWALK = 110,
	P9_TREAD = 116,
	P9_TWRITE = 118,
	P9_TCLUNK = 120,
	P9_TREMOVE = 122,
	P9_TYPES = 128,
};

enum { P9_QID_LINK = 0x02, P9_QID_DIR = 0x80 };

/* Open flags have the values of Linux on x86: fcntl.h's. */

/* Tgetattr */
enum { P9_GETATTR_BASIC = 0x7ff, P9_GETATTR_BTIME = 0x800, P9_GETATTR_GEN = 0x1000 };

/* Tsetattr */
enum {
	P9_SETATTR_MODE = 0x1,
	P9_SETATTR_UID = 0x2,
	P9_SETATTR_GID = 0x4,
	P9_SETATTR_SIZE = 0x8,
	P9_SETATTR_ATIME = 0x10,
	P9_SETATTR_MTIME = 0x20,
	P9_SETATTR_ATIME_SET = 0x80,
	P9_SETATTR_MTIME_SET = 0x100,
};

/* Tunlinkat */
enum { P9_AT_REMOVEDIR = 0x200 };

/* Tlock, Tgetlock */
enum { P9_LOCK_READ = 0, P9_LOCK_WRITE = 1, P9_LOCK_NONE = 2 };
enum { P9_LOCK_SUCCESS = 0, P9_LOCK_BLOCKED = 1, P9_LOCK_ERROR = 2 };

#endif
