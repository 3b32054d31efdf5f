//! The constants of the standard ABI. Generated from `abi/constants.tsv` by `cargo xtask gen`: do not edit.
//!
//! Handles and addresses are given as integers of the size of a pointer.
#![expect(dead_code, reason = "the table is complete, whatever the chapters use")]

/// `MPI_VERSION`.
pub(crate) const VERSION: i32 = 5;
/// `MPI_SUBVERSION`.
pub(crate) const SUBVERSION: i32 = 0;
/// `MPI_ABI_VERSION`.
pub(crate) const ABI_VERSION: i32 = 1;
/// `MPI_ABI_SUBVERSION`.
pub(crate) const ABI_SUBVERSION: i32 = 0;
/// `MPI_OP_NULL`.
pub(crate) const OP_NULL: usize = 32;
/// `MPI_SUM`.
pub(crate) const SUM: usize = 33;
/// `MPI_MIN`.
pub(crate) const MIN: usize = 34;
/// `MPI_MAX`.
pub(crate) const MAX: usize = 35;
/// `MPI_PROD`.
pub(crate) const PROD: usize = 36;
/// `MPI_BAND`.
pub(crate) const BAND: usize = 40;
/// `MPI_BOR`.
pub(crate) const BOR: usize = 41;
/// `MPI_BXOR`.
pub(crate) const BXOR: usize = 42;
/// `MPI_LAND`.
pub(crate) const LAND: usize = 48;
/// `MPI_LOR`.
pub(crate) const LOR: usize = 49;
/// `MPI_LXOR`.
pub(crate) const LXOR: usize = 50;
/// `MPI_MINLOC`.
pub(crate) const MINLOC: usize = 56;
/// `MPI_MAXLOC`.
pub(crate) const MAXLOC: usize = 57;
/// `MPI_REPLACE`.
pub(crate) const REPLACE: usize = 60;
/// `MPI_NO_OP`.
pub(crate) const NO_OP: usize = 61;
/// `MPI_COMM_NULL`.
pub(crate) const COMM_NULL: usize = 256;
/// `MPI_COMM_WORLD`.
pub(crate) const COMM_WORLD: usize = 257;
/// `MPI_COMM_SELF`.
pub(crate) const COMM_SELF: usize = 258;
/// `MPI_GROUP_NULL`.
pub(crate) const GROUP_NULL: usize = 264;
/// `MPI_GROUP_EMPTY`.
pub(crate) const GROUP_EMPTY: usize = 265;
/// `MPI_WIN_NULL`.
pub(crate) const WIN_NULL: usize = 272;
/// `MPI_FILE_NULL`.
pub(crate) const FILE_NULL: usize = 280;
/// `MPI_SESSION_NULL`.
pub(crate) const SESSION_NULL: usize = 288;
/// `MPI_MESSAGE_NULL`.
pub(crate) const MESSAGE_NULL: usize = 296;
/// `MPI_MESSAGE_NO_PROC`.
pub(crate) const MESSAGE_NO_PROC: usize = 297;
/// `MPI_INFO_NULL`.
pub(crate) const INFO_NULL: usize = 304;
/// `MPI_INFO_ENV`.
pub(crate) const INFO_ENV: usize = 305;
/// `MPI_ERRHANDLER_NULL`.
pub(crate) const ERRHANDLER_NULL: usize = 320;
/// `MPI_ERRORS_ARE_FATAL`.
pub(crate) const ERRORS_ARE_FATAL: usize = 321;
/// `MPI_ERRORS_ABORT`.
pub(crate) const ERRORS_ABORT: usize = 322;
/// `MPI_ERRORS_RETURN`.
pub(crate) const ERRORS_RETURN: usize = 323;
/// `MPI_REQUEST_NULL`.
pub(crate) const REQUEST_NULL: usize = 384;
/// `MPI_DATATYPE_NULL`.
pub(crate) const DATATYPE_NULL: usize = 512;
/// `MPI_AINT`.
pub(crate) const AINT: usize = 513;
/// `MPI_COUNT`.
pub(crate) const COUNT: usize = 514;
/// `MPI_OFFSET`.
pub(crate) const OFFSET: usize = 515;
/// `MPI_PACKED`.
pub(crate) const PACKED: usize = 519;
/// `MPI_SHORT`.
pub(crate) const SHORT: usize = 520;
/// `MPI_INT`.
pub(crate) const INT: usize = 521;
/// `MPI_LONG`.
pub(crate) const LONG: usize = 522;
/// `MPI_LONG_LONG`.
pub(crate) const LONG_LONG: usize = 523;
/// `MPI_LONG_LONG_INT`.
pub(crate) const LONG_LONG_INT: usize = 523;
/// `MPI_UNSIGNED_SHORT`.
pub(crate) const UNSIGNED_SHORT: usize = 524;
/// `MPI_UNSIGNED`.
pub(crate) const UNSIGNED: usize = 525;
/// `MPI_UNSIGNED_LONG`.
pub(crate) const UNSIGNED_LONG: usize = 526;
/// `MPI_UNSIGNED_LONG_LONG`.
pub(crate) const UNSIGNED_LONG_LONG: usize = 527;
/// `MPI_FLOAT`.
pub(crate) const FLOAT: usize = 528;
/// `MPI_C_FLOAT_COMPLEX`.
pub(crate) const C_FLOAT_COMPLEX: usize = 530;
/// `MPI_C_COMPLEX`.
pub(crate) const C_COMPLEX: usize = 530;
/// `MPI_CXX_FLOAT_COMPLEX`.
pub(crate) const CXX_FLOAT_COMPLEX: usize = 531;
/// `MPI_DOUBLE`.
pub(crate) const DOUBLE: usize = 532;
/// `MPI_C_DOUBLE_COMPLEX`.
pub(crate) const C_DOUBLE_COMPLEX: usize = 534;
/// `MPI_CXX_DOUBLE_COMPLEX`.
pub(crate) const CXX_DOUBLE_COMPLEX: usize = 535;
/// `MPI_LOGICAL`.
pub(crate) const LOGICAL: usize = 536;
/// `MPI_INTEGER`.
pub(crate) const INTEGER: usize = 537;
/// `MPI_REAL`.
pub(crate) const REAL: usize = 538;
/// `MPI_COMPLEX`.
pub(crate) const COMPLEX: usize = 539;
/// `MPI_DOUBLE_PRECISION`.
pub(crate) const DOUBLE_PRECISION: usize = 540;
/// `MPI_DOUBLE_COMPLEX`.
pub(crate) const DOUBLE_COMPLEX: usize = 541;
/// `MPI_CHARACTER`.
pub(crate) const CHARACTER: usize = 542;
/// `MPI_LONG_DOUBLE`.
pub(crate) const LONG_DOUBLE: usize = 544;
/// `MPI_C_LONG_DOUBLE_COMPLEX`.
pub(crate) const C_LONG_DOUBLE_COMPLEX: usize = 548;
/// `MPI_CXX_LONG_DOUBLE_COMPLEX`.
pub(crate) const CXX_LONG_DOUBLE_COMPLEX: usize = 549;
/// `MPI_FLOAT_INT`.
pub(crate) const FLOAT_INT: usize = 552;
/// `MPI_DOUBLE_INT`.
pub(crate) const DOUBLE_INT: usize = 553;
/// `MPI_LONG_INT`.
pub(crate) const LONG_INT: usize = 554;
/// `MPI_2INT`.
pub(crate) const TYPE_2INT: usize = 555;
/// `MPI_SHORT_INT`.
pub(crate) const SHORT_INT: usize = 556;
/// `MPI_LONG_DOUBLE_INT`.
pub(crate) const LONG_DOUBLE_INT: usize = 557;
/// `MPI_2REAL`.
pub(crate) const TYPE_2REAL: usize = 560;
/// `MPI_2DOUBLE_PRECISION`.
pub(crate) const TYPE_2DOUBLE_PRECISION: usize = 561;
/// `MPI_2INTEGER`.
pub(crate) const TYPE_2INTEGER: usize = 562;
/// `MPI_C_BOOL`.
pub(crate) const C_BOOL: usize = 568;
/// `MPI_CXX_BOOL`.
pub(crate) const CXX_BOOL: usize = 569;
/// `MPI_WCHAR`.
pub(crate) const WCHAR: usize = 572;
/// `MPI_INT8_T`.
pub(crate) const INT8_T: usize = 576;
/// `MPI_UINT8_T`.
pub(crate) const UINT8_T: usize = 577;
/// `MPI_CHAR`.
pub(crate) const CHAR: usize = 579;
/// `MPI_SIGNED_CHAR`.
pub(crate) const SIGNED_CHAR: usize = 580;
/// `MPI_UNSIGNED_CHAR`.
pub(crate) const UNSIGNED_CHAR: usize = 581;
/// `MPI_BYTE`.
pub(crate) const BYTE: usize = 583;
/// `MPI_INT16_T`.
pub(crate) const INT16_T: usize = 584;
/// `MPI_UINT16_T`.
pub(crate) const UINT16_T: usize = 585;
/// `MPI_INT32_T`.
pub(crate) const INT32_T: usize = 592;
/// `MPI_UINT32_T`.
pub(crate) const UINT32_T: usize = 593;
/// `MPI_INT64_T`.
pub(crate) const INT64_T: usize = 600;
/// `MPI_UINT64_T`.
pub(crate) const UINT64_T: usize = 601;
/// `MPI_LOGICAL1`.
pub(crate) const LOGICAL1: usize = 704;
/// `MPI_INTEGER1`.
pub(crate) const INTEGER1: usize = 705;
/// `MPI_LOGICAL2`.
pub(crate) const LOGICAL2: usize = 712;
/// `MPI_INTEGER2`.
pub(crate) const INTEGER2: usize = 713;
/// `MPI_REAL2`.
pub(crate) const REAL2: usize = 714;
/// `MPI_LOGICAL4`.
pub(crate) const LOGICAL4: usize = 720;
/// `MPI_INTEGER4`.
pub(crate) const INTEGER4: usize = 721;
/// `MPI_REAL4`.
pub(crate) const REAL4: usize = 722;
/// `MPI_COMPLEX4`.
pub(crate) const COMPLEX4: usize = 723;
/// `MPI_LOGICAL8`.
pub(crate) const LOGICAL8: usize = 728;
/// `MPI_INTEGER8`.
pub(crate) const INTEGER8: usize = 729;
/// `MPI_REAL8`.
pub(crate) const REAL8: usize = 730;
/// `MPI_COMPLEX8`.
pub(crate) const COMPLEX8: usize = 731;
/// `MPI_LOGICAL16`.
pub(crate) const LOGICAL16: usize = 736;
/// `MPI_INTEGER16`.
pub(crate) const INTEGER16: usize = 737;
/// `MPI_REAL16`.
pub(crate) const REAL16: usize = 738;
/// `MPI_COMPLEX16`.
pub(crate) const COMPLEX16: usize = 739;
/// `MPI_COMPLEX32`.
pub(crate) const COMPLEX32: usize = 747;
/// `MPI_BOTTOM`.
pub(crate) const BOTTOM: usize = 0;
/// `MPI_IN_PLACE`.
pub(crate) const IN_PLACE: usize = 1;
/// `MPI_BUFFER_AUTOMATIC`.
pub(crate) const BUFFER_AUTOMATIC: usize = 2;
/// `MPI_ARGV_NULL`.
pub(crate) const ARGV_NULL: usize = 0;
/// `MPI_ARGVS_NULL`.
pub(crate) const ARGVS_NULL: usize = 0;
/// `MPI_ERRCODES_IGNORE`.
pub(crate) const ERRCODES_IGNORE: usize = 0;
/// `MPI_STATUS_IGNORE`.
pub(crate) const STATUS_IGNORE: usize = 0;
/// `MPI_STATUSES_IGNORE`.
pub(crate) const STATUSES_IGNORE: usize = 0;
/// `MPI_UNWEIGHTED`.
pub(crate) const UNWEIGHTED: usize = 10;
/// `MPI_WEIGHTS_EMPTY`.
pub(crate) const WEIGHTS_EMPTY: usize = 11;
/// `MPI_MAX_DATAREP_STRING`.
pub(crate) const MAX_DATAREP_STRING: i32 = 128;
/// `MPI_MAX_ERROR_STRING`.
pub(crate) const MAX_ERROR_STRING: i32 = 512;
/// `MPI_MAX_INFO_KEY`.
pub(crate) const MAX_INFO_KEY: i32 = 256;
/// `MPI_MAX_INFO_VAL`.
pub(crate) const MAX_INFO_VAL: i32 = 1024;
/// `MPI_MAX_LIBRARY_VERSION_STRING`.
pub(crate) const MAX_LIBRARY_VERSION_STRING: i32 = 8192;
/// `MPI_MAX_OBJECT_NAME`.
pub(crate) const MAX_OBJECT_NAME: i32 = 128;
/// `MPI_MAX_PORT_NAME`.
pub(crate) const MAX_PORT_NAME: i32 = 1024;
/// `MPI_MAX_PROCESSOR_NAME`.
pub(crate) const MAX_PROCESSOR_NAME: i32 = 256;
/// `MPI_MAX_STRINGTAG_LEN`.
pub(crate) const MAX_STRINGTAG_LEN: i32 = 1024;
/// `MPI_MAX_PSET_NAME_LEN`.
pub(crate) const MAX_PSET_NAME_LEN: i32 = 1024;
/// `MPI_BSEND_OVERHEAD`.
pub(crate) const BSEND_OVERHEAD: i32 = 512;
/// `MPI_DISPLACEMENT_CURRENT`.
pub(crate) const DISPLACEMENT_CURRENT: i64 = -1;
/// `MPI_NULL_COPY_FN`.
pub(crate) const NULL_COPY_FN: usize = 0;
/// `MPI_DUP_FN`.
pub(crate) const DUP_FN: usize = 1;
/// `MPI_NULL_DELETE_FN`.
pub(crate) const NULL_DELETE_FN: usize = 0;
/// `MPI_COMM_NULL_COPY_FN`.
pub(crate) const COMM_NULL_COPY_FN: usize = 0;
/// `MPI_COMM_DUP_FN`.
pub(crate) const COMM_DUP_FN: usize = 1;
/// `MPI_COMM_NULL_DELETE_FN`.
pub(crate) const COMM_NULL_DELETE_FN: usize = 0;
/// `MPI_TYPE_NULL_COPY_FN`.
pub(crate) const TYPE_NULL_COPY_FN: usize = 0;
/// `MPI_TYPE_DUP_FN`.
pub(crate) const TYPE_DUP_FN: usize = 1;
/// `MPI_TYPE_NULL_DELETE_FN`.
pub(crate) const TYPE_NULL_DELETE_FN: usize = 0;
/// `MPI_WIN_NULL_COPY_FN`.
pub(crate) const WIN_NULL_COPY_FN: usize = 0;
/// `MPI_WIN_DUP_FN`.
pub(crate) const WIN_DUP_FN: usize = 1;
/// `MPI_WIN_NULL_DELETE_FN`.
pub(crate) const WIN_NULL_DELETE_FN: usize = 0;
/// `MPI_CONVERSION_FN_NULL`.
pub(crate) const CONVERSION_FN_NULL: usize = 0;
/// `MPI_CONVERSION_FN_NULL_C`.
pub(crate) const CONVERSION_FN_NULL_C: usize = 0;
/// `MPI_T_ENUM_NULL`.
pub(crate) const T_ENUM_NULL: usize = 0;
/// `MPI_T_CVAR_HANDLE_NULL`.
pub(crate) const T_CVAR_HANDLE_NULL: usize = 0;
/// `MPI_T_PVAR_SESSION_NULL`.
pub(crate) const T_PVAR_SESSION_NULL: usize = 0;
/// `MPI_T_PVAR_HANDLE_NULL`.
pub(crate) const T_PVAR_HANDLE_NULL: usize = 0;
/// `MPI_T_PVAR_ALL_HANDLES`.
pub(crate) const T_PVAR_ALL_HANDLES: usize = 1;
/// `MPI_F_STATUS_SIZE`.
pub(crate) const F_STATUS_SIZE: i32 = 8;
/// `MPI_F_SOURCE`.
pub(crate) const F_SOURCE: i32 = 0;
/// `MPI_F_TAG`.
pub(crate) const F_TAG: i32 = 1;
/// `MPI_F_ERROR`.
pub(crate) const F_ERROR: i32 = 2;
/// `MPI_SUCCESS`.
pub(crate) const SUCCESS: i32 = 0;
/// `MPI_ERR_BUFFER`.
pub(crate) const ERR_BUFFER: i32 = 1;
/// `MPI_ERR_COUNT`.
pub(crate) const ERR_COUNT: i32 = 2;
/// `MPI_ERR_TYPE`.
pub(crate) const ERR_TYPE: i32 = 3;
/// `MPI_ERR_TAG`.
pub(crate) const ERR_TAG: i32 = 4;
/// `MPI_ERR_COMM`.
pub(crate) const ERR_COMM: i32 = 5;
/// `MPI_ERR_RANK`.
pub(crate) const ERR_RANK: i32 = 6;
/// `MPI_ERR_REQUEST`.
pub(crate) const ERR_REQUEST: i32 = 7;
/// `MPI_ERR_ROOT`.
pub(crate) const ERR_ROOT: i32 = 8;
/// `MPI_ERR_GROUP`.
pub(crate) const ERR_GROUP: i32 = 9;
/// `MPI_ERR_OP`.
pub(crate) const ERR_OP: i32 = 10;
/// `MPI_ERR_TOPOLOGY`.
pub(crate) const ERR_TOPOLOGY: i32 = 11;
/// `MPI_ERR_DIMS`.
pub(crate) const ERR_DIMS: i32 = 12;
/// `MPI_ERR_ARG`.
pub(crate) const ERR_ARG: i32 = 13;
/// `MPI_ERR_UNKNOWN`.
pub(crate) const ERR_UNKNOWN: i32 = 14;
/// `MPI_ERR_TRUNCATE`.
pub(crate) const ERR_TRUNCATE: i32 = 15;
/// `MPI_ERR_OTHER`.
pub(crate) const ERR_OTHER: i32 = 16;
/// `MPI_ERR_INTERN`.
pub(crate) const ERR_INTERN: i32 = 17;
/// `MPI_ERR_PENDING`.
pub(crate) const ERR_PENDING: i32 = 18;
/// `MPI_ERR_IN_STATUS`.
pub(crate) const ERR_IN_STATUS: i32 = 19;
/// `MPI_ERR_ACCESS`.
pub(crate) const ERR_ACCESS: i32 = 20;
/// `MPI_ERR_AMODE`.
pub(crate) const ERR_AMODE: i32 = 21;
/// `MPI_ERR_ASSERT`.
pub(crate) const ERR_ASSERT: i32 = 22;
/// `MPI_ERR_BAD_FILE`.
pub(crate) const ERR_BAD_FILE: i32 = 23;
/// `MPI_ERR_BASE`.
pub(crate) const ERR_BASE: i32 = 24;
/// `MPI_ERR_CONVERSION`.
pub(crate) const ERR_CONVERSION: i32 = 25;
/// `MPI_ERR_DISP`.
pub(crate) const ERR_DISP: i32 = 26;
/// `MPI_ERR_DUP_DATAREP`.
pub(crate) const ERR_DUP_DATAREP: i32 = 27;
/// `MPI_ERR_FILE_EXISTS`.
pub(crate) const ERR_FILE_EXISTS: i32 = 28;
/// `MPI_ERR_FILE_IN_USE`.
pub(crate) const ERR_FILE_IN_USE: i32 = 29;
/// `MPI_ERR_FILE`.
pub(crate) const ERR_FILE: i32 = 30;
/// `MPI_ERR_INFO_KEY`.
pub(crate) const ERR_INFO_KEY: i32 = 31;
/// `MPI_ERR_INFO_NOKEY`.
pub(crate) const ERR_INFO_NOKEY: i32 = 32;
/// `MPI_ERR_INFO_VALUE`.
pub(crate) const ERR_INFO_VALUE: i32 = 33;
/// `MPI_ERR_INFO`.
pub(crate) const ERR_INFO: i32 = 34;
/// `MPI_ERR_IO`.
pub(crate) const ERR_IO: i32 = 35;
/// `MPI_ERR_KEYVAL`.
pub(crate) const ERR_KEYVAL: i32 = 36;
/// `MPI_ERR_LOCKTYPE`.
pub(crate) const ERR_LOCKTYPE: i32 = 37;
/// `MPI_ERR_NAME`.
pub(crate) const ERR_NAME: i32 = 38;
/// `MPI_ERR_NO_MEM`.
pub(crate) const ERR_NO_MEM: i32 = 39;
/// `MPI_ERR_NOT_SAME`.
pub(crate) const ERR_NOT_SAME: i32 = 40;
/// `MPI_ERR_NO_SPACE`.
pub(crate) const ERR_NO_SPACE: i32 = 41;
/// `MPI_ERR_NO_SUCH_FILE`.
pub(crate) const ERR_NO_SUCH_FILE: i32 = 42;
/// `MPI_ERR_PORT`.
pub(crate) const ERR_PORT: i32 = 43;
/// `MPI_ERR_QUOTA`.
pub(crate) const ERR_QUOTA: i32 = 44;
/// `MPI_ERR_READ_ONLY`.
pub(crate) const ERR_READ_ONLY: i32 = 45;
/// `MPI_ERR_RMA_ATTACH`.
pub(crate) const ERR_RMA_ATTACH: i32 = 46;
/// `MPI_ERR_RMA_CONFLICT`.
pub(crate) const ERR_RMA_CONFLICT: i32 = 47;
/// `MPI_ERR_RMA_RANGE`.
pub(crate) const ERR_RMA_RANGE: i32 = 48;
/// `MPI_ERR_RMA_SHARED`.
pub(crate) const ERR_RMA_SHARED: i32 = 49;
/// `MPI_ERR_RMA_SYNC`.
pub(crate) const ERR_RMA_SYNC: i32 = 50;
/// `MPI_ERR_SERVICE`.
pub(crate) const ERR_SERVICE: i32 = 51;
/// `MPI_ERR_SIZE`.
pub(crate) const ERR_SIZE: i32 = 52;
/// `MPI_ERR_SPAWN`.
pub(crate) const ERR_SPAWN: i32 = 53;
/// `MPI_ERR_UNSUPPORTED_DATAREP`.
pub(crate) const ERR_UNSUPPORTED_DATAREP: i32 = 54;
/// `MPI_ERR_UNSUPPORTED_OPERATION`.
pub(crate) const ERR_UNSUPPORTED_OPERATION: i32 = 55;
/// `MPI_ERR_WIN`.
pub(crate) const ERR_WIN: i32 = 56;
/// `MPI_ERR_RMA_FLAVOR`.
pub(crate) const ERR_RMA_FLAVOR: i32 = 57;
/// `MPI_ERR_PROC_ABORTED`.
pub(crate) const ERR_PROC_ABORTED: i32 = 58;
/// `MPI_ERR_VALUE_TOO_LARGE`.
pub(crate) const ERR_VALUE_TOO_LARGE: i32 = 59;
/// `MPI_ERR_SESSION`.
pub(crate) const ERR_SESSION: i32 = 60;
/// `MPI_ERR_ERRHANDLER`.
pub(crate) const ERR_ERRHANDLER: i32 = 61;
/// `MPI_ERR_ABI`.
pub(crate) const ERR_ABI: i32 = 62;
/// `MPI_T_ERR_CANNOT_INIT`.
pub(crate) const T_ERR_CANNOT_INIT: i32 = 1001;
/// `MPI_T_ERR_NOT_ACCESSIBLE`.
pub(crate) const T_ERR_NOT_ACCESSIBLE: i32 = 1002;
/// `MPI_T_ERR_NOT_INITIALIZED`.
pub(crate) const T_ERR_NOT_INITIALIZED: i32 = 1003;
/// `MPI_T_ERR_NOT_SUPPORTED`.
pub(crate) const T_ERR_NOT_SUPPORTED: i32 = 1004;
/// `MPI_T_ERR_MEMORY`.
pub(crate) const T_ERR_MEMORY: i32 = 1005;
/// `MPI_T_ERR_INVALID`.
pub(crate) const T_ERR_INVALID: i32 = 1006;
/// `MPI_T_ERR_INVALID_INDEX`.
pub(crate) const T_ERR_INVALID_INDEX: i32 = 1007;
/// `MPI_T_ERR_INVALID_ITEM`.
pub(crate) const T_ERR_INVALID_ITEM: i32 = 1008;
/// `MPI_T_ERR_INVALID_SESSION`.
pub(crate) const T_ERR_INVALID_SESSION: i32 = 1009;
/// `MPI_T_ERR_INVALID_HANDLE`.
pub(crate) const T_ERR_INVALID_HANDLE: i32 = 1010;
/// `MPI_T_ERR_INVALID_NAME`.
pub(crate) const T_ERR_INVALID_NAME: i32 = 1011;
/// `MPI_T_ERR_OUT_OF_HANDLES`.
pub(crate) const T_ERR_OUT_OF_HANDLES: i32 = 1012;
/// `MPI_T_ERR_OUT_OF_SESSIONS`.
pub(crate) const T_ERR_OUT_OF_SESSIONS: i32 = 1013;
/// `MPI_T_ERR_CVAR_SET_NOT_NOW`.
pub(crate) const T_ERR_CVAR_SET_NOT_NOW: i32 = 1014;
/// `MPI_T_ERR_CVAR_SET_NEVER`.
pub(crate) const T_ERR_CVAR_SET_NEVER: i32 = 1015;
/// `MPI_T_ERR_PVAR_NO_WRITE`.
pub(crate) const T_ERR_PVAR_NO_WRITE: i32 = 1016;
/// `MPI_T_ERR_PVAR_NO_STARTSTOP`.
pub(crate) const T_ERR_PVAR_NO_STARTSTOP: i32 = 1017;
/// `MPI_T_ERR_PVAR_NO_ATOMIC`.
pub(crate) const T_ERR_PVAR_NO_ATOMIC: i32 = 1018;
/// `MPI_ERR_LASTCODE`.
pub(crate) const ERR_LASTCODE: i32 = 16383;
/// `MPI_MODE_APPEND`.
pub(crate) const MODE_APPEND: i32 = 1;
/// `MPI_MODE_CREATE`.
pub(crate) const MODE_CREATE: i32 = 2;
/// `MPI_MODE_DELETE_ON_CLOSE`.
pub(crate) const MODE_DELETE_ON_CLOSE: i32 = 4;
/// `MPI_MODE_EXCL`.
pub(crate) const MODE_EXCL: i32 = 8;
/// `MPI_MODE_RDONLY`.
pub(crate) const MODE_RDONLY: i32 = 16;
/// `MPI_MODE_RDWR`.
pub(crate) const MODE_RDWR: i32 = 32;
/// `MPI_MODE_SEQUENTIAL`.
pub(crate) const MODE_SEQUENTIAL: i32 = 64;
/// `MPI_MODE_UNIQUE_OPEN`.
pub(crate) const MODE_UNIQUE_OPEN: i32 = 128;
/// `MPI_MODE_WRONLY`.
pub(crate) const MODE_WRONLY: i32 = 256;
/// `MPI_MODE_NOCHECK`.
pub(crate) const MODE_NOCHECK: i32 = 1024;
/// `MPI_MODE_NOPRECEDE`.
pub(crate) const MODE_NOPRECEDE: i32 = 2048;
/// `MPI_MODE_NOPUT`.
pub(crate) const MODE_NOPUT: i32 = 4096;
/// `MPI_MODE_NOSTORE`.
pub(crate) const MODE_NOSTORE: i32 = 8192;
/// `MPI_MODE_NOSUCCEED`.
pub(crate) const MODE_NOSUCCEED: i32 = 16384;
/// `MPI_ANY_SOURCE`.
pub(crate) const ANY_SOURCE: i32 = -1;
/// `MPI_ANY_TAG`.
pub(crate) const ANY_TAG: i32 = -2;
/// `MPI_PROC_NULL`.
pub(crate) const PROC_NULL: i32 = -3;
/// `MPI_ROOT`.
pub(crate) const ROOT: i32 = -4;
/// `MPI_UNDEFINED`.
pub(crate) const UNDEFINED: i32 = -32766;
/// `MPI_THREAD_SINGLE`.
pub(crate) const THREAD_SINGLE: i32 = 0;
/// `MPI_THREAD_FUNNELED`.
pub(crate) const THREAD_FUNNELED: i32 = 1024;
/// `MPI_THREAD_SERIALIZED`.
pub(crate) const THREAD_SERIALIZED: i32 = 2048;
/// `MPI_THREAD_MULTIPLE`.
pub(crate) const THREAD_MULTIPLE: i32 = 4096;
/// `MPI_ORDER_C`.
pub(crate) const ORDER_C: i32 = 12;
/// `MPI_ORDER_FORTRAN`.
pub(crate) const ORDER_FORTRAN: i32 = 15;
/// `MPI_DISTRIBUTE_NONE`.
pub(crate) const DISTRIBUTE_NONE: i32 = 16;
/// `MPI_DISTRIBUTE_BLOCK`.
pub(crate) const DISTRIBUTE_BLOCK: i32 = 17;
/// `MPI_DISTRIBUTE_CYCLIC`.
pub(crate) const DISTRIBUTE_CYCLIC: i32 = 18;
/// `MPI_DISTRIBUTE_DFLT_DARG`.
pub(crate) const DISTRIBUTE_DFLT_DARG: i32 = 19;
/// `MPI_COMBINER_NAMED`.
pub(crate) const COMBINER_NAMED: i32 = 101;
/// `MPI_COMBINER_DUP`.
pub(crate) const COMBINER_DUP: i32 = 102;
/// `MPI_COMBINER_CONTIGUOUS`.
pub(crate) const COMBINER_CONTIGUOUS: i32 = 103;
/// `MPI_COMBINER_VECTOR`.
pub(crate) const COMBINER_VECTOR: i32 = 104;
/// `MPI_COMBINER_HVECTOR`.
pub(crate) const COMBINER_HVECTOR: i32 = 105;
/// `MPI_COMBINER_INDEXED`.
pub(crate) const COMBINER_INDEXED: i32 = 106;
/// `MPI_COMBINER_HINDEXED`.
pub(crate) const COMBINER_HINDEXED: i32 = 107;
/// `MPI_COMBINER_INDEXED_BLOCK`.
pub(crate) const COMBINER_INDEXED_BLOCK: i32 = 108;
/// `MPI_COMBINER_HINDEXED_BLOCK`.
pub(crate) const COMBINER_HINDEXED_BLOCK: i32 = 109;
/// `MPI_COMBINER_STRUCT`.
pub(crate) const COMBINER_STRUCT: i32 = 110;
/// `MPI_COMBINER_SUBARRAY`.
pub(crate) const COMBINER_SUBARRAY: i32 = 111;
/// `MPI_COMBINER_DARRAY`.
pub(crate) const COMBINER_DARRAY: i32 = 112;
/// `MPI_COMBINER_F90_REAL`.
pub(crate) const COMBINER_F90_REAL: i32 = 113;
/// `MPI_COMBINER_F90_COMPLEX`.
pub(crate) const COMBINER_F90_COMPLEX: i32 = 114;
/// `MPI_COMBINER_F90_INTEGER`.
pub(crate) const COMBINER_F90_INTEGER: i32 = 115;
/// `MPI_COMBINER_RESIZED`.
pub(crate) const COMBINER_RESIZED: i32 = 116;
/// `MPI_COMBINER_VALUE_INDEX`.
pub(crate) const COMBINER_VALUE_INDEX: i32 = 117;
/// `MPI_TYPECLASS_INTEGER`.
pub(crate) const TYPECLASS_INTEGER: i32 = 192;
/// `MPI_TYPECLASS_REAL`.
pub(crate) const TYPECLASS_REAL: i32 = 193;
/// `MPI_TYPECLASS_COMPLEX`.
pub(crate) const TYPECLASS_COMPLEX: i32 = 194;
/// `MPI_IDENT`.
pub(crate) const IDENT: i32 = 201;
/// `MPI_CONGRUENT`.
pub(crate) const CONGRUENT: i32 = 202;
/// `MPI_SIMILAR`.
pub(crate) const SIMILAR: i32 = 203;
/// `MPI_UNEQUAL`.
pub(crate) const UNEQUAL: i32 = 204;
/// `MPI_CART`.
pub(crate) const CART: i32 = 211;
/// `MPI_GRAPH`.
pub(crate) const GRAPH: i32 = 212;
/// `MPI_DIST_GRAPH`.
pub(crate) const DIST_GRAPH: i32 = 213;
/// `MPI_COMM_TYPE_SHARED`.
pub(crate) const COMM_TYPE_SHARED: i32 = 221;
/// `MPI_COMM_TYPE_HW_UNGUIDED`.
pub(crate) const COMM_TYPE_HW_UNGUIDED: i32 = 222;
/// `MPI_COMM_TYPE_HW_GUIDED`.
pub(crate) const COMM_TYPE_HW_GUIDED: i32 = 223;
/// `MPI_COMM_TYPE_RESOURCE_GUIDED`.
pub(crate) const COMM_TYPE_RESOURCE_GUIDED: i32 = 224;
/// `MPI_LOCK_EXCLUSIVE`.
pub(crate) const LOCK_EXCLUSIVE: i32 = 301;
/// `MPI_LOCK_SHARED`.
pub(crate) const LOCK_SHARED: i32 = 302;
/// `MPI_WIN_FLAVOR_CREATE`.
pub(crate) const WIN_FLAVOR_CREATE: i32 = 311;
/// `MPI_WIN_FLAVOR_ALLOCATE`.
pub(crate) const WIN_FLAVOR_ALLOCATE: i32 = 312;
/// `MPI_WIN_FLAVOR_DYNAMIC`.
pub(crate) const WIN_FLAVOR_DYNAMIC: i32 = 313;
/// `MPI_WIN_FLAVOR_SHARED`.
pub(crate) const WIN_FLAVOR_SHARED: i32 = 314;
/// `MPI_WIN_UNIFIED`.
pub(crate) const WIN_UNIFIED: i32 = 321;
/// `MPI_WIN_SEPARATE`.
pub(crate) const WIN_SEPARATE: i32 = 322;
/// `MPI_SEEK_CUR`.
pub(crate) const SEEK_CUR: i32 = 401;
/// `MPI_SEEK_END`.
pub(crate) const SEEK_END: i32 = 402;
/// `MPI_SEEK_SET`.
pub(crate) const SEEK_SET: i32 = 403;
/// `MPI_KEYVAL_INVALID`.
pub(crate) const KEYVAL_INVALID: i32 = 0;
/// `MPI_TAG_UB`.
pub(crate) const TAG_UB: i32 = 501;
/// `MPI_IO`.
pub(crate) const IO: i32 = 502;
/// `MPI_HOST`.
pub(crate) const HOST: i32 = 503;
/// `MPI_WTIME_IS_GLOBAL`.
pub(crate) const WTIME_IS_GLOBAL: i32 = 504;
/// `MPI_APPNUM`.
pub(crate) const APPNUM: i32 = 505;
/// `MPI_LASTUSEDCODE`.
pub(crate) const LASTUSEDCODE: i32 = 506;
/// `MPI_UNIVERSE_SIZE`.
pub(crate) const UNIVERSE_SIZE: i32 = 507;
/// `MPI_WIN_BASE`.
pub(crate) const WIN_BASE: i32 = 601;
/// `MPI_WIN_DISP_UNIT`.
pub(crate) const WIN_DISP_UNIT: i32 = 602;
/// `MPI_WIN_SIZE`.
pub(crate) const WIN_SIZE: i32 = 603;
/// `MPI_WIN_CREATE_FLAVOR`.
pub(crate) const WIN_CREATE_FLAVOR: i32 = 604;
/// `MPI_WIN_MODEL`.
pub(crate) const WIN_MODEL: i32 = 605;
/// `MPI_T_CB_REQUIRE_NONE`.
pub(crate) const T_CB_REQUIRE_NONE: i32 = 0;
/// `MPI_T_CB_REQUIRE_MPI_RESTRICTED`.
pub(crate) const T_CB_REQUIRE_MPI_RESTRICTED: i32 = 3;
/// `MPI_T_CB_REQUIRE_THREAD_SAFE`.
pub(crate) const T_CB_REQUIRE_THREAD_SAFE: i32 = 15;
/// `MPI_T_CB_REQUIRE_ASYNC_SIGNAL_SAFE`.
pub(crate) const T_CB_REQUIRE_ASYNC_SIGNAL_SAFE: i32 = 63;
/// `MPI_T_SOURCE_ORDERED`.
pub(crate) const T_SOURCE_ORDERED: i32 = 1;
/// `MPI_T_SOURCE_UNORDERED`.
pub(crate) const T_SOURCE_UNORDERED: i32 = 2;
/// `MPI_T_VERBOSITY_USER_BASIC`.
pub(crate) const T_VERBOSITY_USER_BASIC: i32 = 9;
/// `MPI_T_VERBOSITY_USER_DETAIL`.
pub(crate) const T_VERBOSITY_USER_DETAIL: i32 = 10;
/// `MPI_T_VERBOSITY_USER_ALL`.
pub(crate) const T_VERBOSITY_USER_ALL: i32 = 12;
/// `MPI_T_VERBOSITY_TUNER_BASIC`.
pub(crate) const T_VERBOSITY_TUNER_BASIC: i32 = 17;
/// `MPI_T_VERBOSITY_TUNER_DETAIL`.
pub(crate) const T_VERBOSITY_TUNER_DETAIL: i32 = 18;
/// `MPI_T_VERBOSITY_TUNER_ALL`.
pub(crate) const T_VERBOSITY_TUNER_ALL: i32 = 20;
/// `MPI_T_VERBOSITY_MPIDEV_BASIC`.
pub(crate) const T_VERBOSITY_MPIDEV_BASIC: i32 = 33;
/// `MPI_T_VERBOSITY_MPIDEV_DETAIL`.
pub(crate) const T_VERBOSITY_MPIDEV_DETAIL: i32 = 34;
/// `MPI_T_VERBOSITY_MPIDEV_ALL`.
pub(crate) const T_VERBOSITY_MPIDEV_ALL: i32 = 36;
/// `MPI_T_BIND_NO_OBJECT`.
pub(crate) const T_BIND_NO_OBJECT: i32 = 1;
/// `MPI_T_BIND_MPI_COMM`.
pub(crate) const T_BIND_MPI_COMM: i32 = 2;
/// `MPI_T_BIND_MPI_DATATYPE`.
pub(crate) const T_BIND_MPI_DATATYPE: i32 = 3;
/// `MPI_T_BIND_MPI_ERRHANDLER`.
pub(crate) const T_BIND_MPI_ERRHANDLER: i32 = 4;
/// `MPI_T_BIND_MPI_FILE`.
pub(crate) const T_BIND_MPI_FILE: i32 = 5;
/// `MPI_T_BIND_MPI_GROUP`.
pub(crate) const T_BIND_MPI_GROUP: i32 = 6;
/// `MPI_T_BIND_MPI_OP`.
pub(crate) const T_BIND_MPI_OP: i32 = 7;
/// `MPI_T_BIND_MPI_REQUEST`.
pub(crate) const T_BIND_MPI_REQUEST: i32 = 8;
/// `MPI_T_BIND_MPI_WIN`.
pub(crate) const T_BIND_MPI_WIN: i32 = 9;
/// `MPI_T_BIND_MPI_MESSAGE`.
pub(crate) const T_BIND_MPI_MESSAGE: i32 = 10;
/// `MPI_T_BIND_MPI_INFO`.
pub(crate) const T_BIND_MPI_INFO: i32 = 11;
/// `MPI_T_BIND_MPI_SESSION`.
pub(crate) const T_BIND_MPI_SESSION: i32 = 12;
/// `MPI_T_SCOPE_CONSTANT`.
pub(crate) const T_SCOPE_CONSTANT: i32 = 1;
/// `MPI_T_SCOPE_READONLY`.
pub(crate) const T_SCOPE_READONLY: i32 = 2;
/// `MPI_T_SCOPE_LOCAL`.
pub(crate) const T_SCOPE_LOCAL: i32 = 3;
/// `MPI_T_SCOPE_GROUP`.
pub(crate) const T_SCOPE_GROUP: i32 = 4;
/// `MPI_T_SCOPE_GROUP_EQ`.
pub(crate) const T_SCOPE_GROUP_EQ: i32 = 5;
/// `MPI_T_SCOPE_ALL`.
pub(crate) const T_SCOPE_ALL: i32 = 6;
/// `MPI_T_SCOPE_ALL_EQ`.
pub(crate) const T_SCOPE_ALL_EQ: i32 = 7;
/// `MPI_T_PVAR_CLASS_STATE`.
pub(crate) const T_PVAR_CLASS_STATE: i32 = 1;
/// `MPI_T_PVAR_CLASS_LEVEL`.
pub(crate) const T_PVAR_CLASS_LEVEL: i32 = 2;
/// `MPI_T_PVAR_CLASS_SIZE`.
pub(crate) const T_PVAR_CLASS_SIZE: i32 = 3;
/// `MPI_T_PVAR_CLASS_PERCENTAGE`.
pub(crate) const T_PVAR_CLASS_PERCENTAGE: i32 = 4;
/// `MPI_T_PVAR_CLASS_HIGHWATERMARK`.
pub(crate) const T_PVAR_CLASS_HIGHWATERMARK: i32 = 5;
/// `MPI_T_PVAR_CLASS_LOWWATERMARK`.
pub(crate) const T_PVAR_CLASS_LOWWATERMARK: i32 = 6;
/// `MPI_T_PVAR_CLASS_COUNTER`.
pub(crate) const T_PVAR_CLASS_COUNTER: i32 = 7;
/// `MPI_T_PVAR_CLASS_AGGREGATE`.
pub(crate) const T_PVAR_CLASS_AGGREGATE: i32 = 8;
/// `MPI_T_PVAR_CLASS_TIMER`.
pub(crate) const T_PVAR_CLASS_TIMER: i32 = 9;
/// `MPI_T_PVAR_CLASS_GENERIC`.
pub(crate) const T_PVAR_CLASS_GENERIC: i32 = 10;

/// Error classes by number, with their names.
pub(crate) const ERROR_CLASSES: &[(i32, &str)] = &[
    (0, "MPI_SUCCESS"),
    (1, "MPI_ERR_BUFFER"),
    (2, "MPI_ERR_COUNT"),
    (3, "MPI_ERR_TYPE"),
    (4, "MPI_ERR_TAG"),
    (5, "MPI_ERR_COMM"),
    (6, "MPI_ERR_RANK"),
    (7, "MPI_ERR_REQUEST"),
    (8, "MPI_ERR_ROOT"),
    (9, "MPI_ERR_GROUP"),
    (10, "MPI_ERR_OP"),
    (11, "MPI_ERR_TOPOLOGY"),
    (12, "MPI_ERR_DIMS"),
    (13, "MPI_ERR_ARG"),
    (14, "MPI_ERR_UNKNOWN"),
    (15, "MPI_ERR_TRUNCATE"),
    (16, "MPI_ERR_OTHER"),
    (17, "MPI_ERR_INTERN"),
    (18, "MPI_ERR_PENDING"),
    (19, "MPI_ERR_IN_STATUS"),
    (20, "MPI_ERR_ACCESS"),
    (21, "MPI_ERR_AMODE"),
    (22, "MPI_ERR_ASSERT"),
    (23, "MPI_ERR_BAD_FILE"),
    (24, "MPI_ERR_BASE"),
    (25, "MPI_ERR_CONVERSION"),
    (26, "MPI_ERR_DISP"),
    (27, "MPI_ERR_DUP_DATAREP"),
    (28, "MPI_ERR_FILE_EXISTS"),
    (29, "MPI_ERR_FILE_IN_USE"),
    (30, "MPI_ERR_FILE"),
    (31, "MPI_ERR_INFO_KEY"),
    (32, "MPI_ERR_INFO_NOKEY"),
    (33, "MPI_ERR_INFO_VALUE"),
    (34, "MPI_ERR_INFO"),
    (35, "MPI_ERR_IO"),
    (36, "MPI_ERR_KEYVAL"),
    (37, "MPI_ERR_LOCKTYPE"),
    (38, "MPI_ERR_NAME"),
    (39, "MPI_ERR_NO_MEM"),
    (40, "MPI_ERR_NOT_SAME"),
    (41, "MPI_ERR_NO_SPACE"),
    (42, "MPI_ERR_NO_SUCH_FILE"),
    (43, "MPI_ERR_PORT"),
    (44, "MPI_ERR_QUOTA"),
    (45, "MPI_ERR_READ_ONLY"),
    (46, "MPI_ERR_RMA_ATTACH"),
    (47, "MPI_ERR_RMA_CONFLICT"),
    (48, "MPI_ERR_RMA_RANGE"),
    (49, "MPI_ERR_RMA_SHARED"),
    (50, "MPI_ERR_RMA_SYNC"),
    (51, "MPI_ERR_SERVICE"),
    (52, "MPI_ERR_SIZE"),
    (53, "MPI_ERR_SPAWN"),
    (54, "MPI_ERR_UNSUPPORTED_DATAREP"),
    (55, "MPI_ERR_UNSUPPORTED_OPERATION"),
    (56, "MPI_ERR_WIN"),
    (57, "MPI_ERR_RMA_FLAVOR"),
    (58, "MPI_ERR_PROC_ABORTED"),
    (59, "MPI_ERR_VALUE_TOO_LARGE"),
    (60, "MPI_ERR_SESSION"),
    (61, "MPI_ERR_ERRHANDLER"),
    (62, "MPI_ERR_ABI"),
    (1001, "MPI_T_ERR_CANNOT_INIT"),
    (1002, "MPI_T_ERR_NOT_ACCESSIBLE"),
    (1003, "MPI_T_ERR_NOT_INITIALIZED"),
    (1004, "MPI_T_ERR_NOT_SUPPORTED"),
    (1005, "MPI_T_ERR_MEMORY"),
    (1006, "MPI_T_ERR_INVALID"),
    (1007, "MPI_T_ERR_INVALID_INDEX"),
    (1008, "MPI_T_ERR_INVALID_ITEM"),
    (1009, "MPI_T_ERR_INVALID_SESSION"),
    (1010, "MPI_T_ERR_INVALID_HANDLE"),
    (1011, "MPI_T_ERR_INVALID_NAME"),
    (1012, "MPI_T_ERR_OUT_OF_HANDLES"),
    (1013, "MPI_T_ERR_OUT_OF_SESSIONS"),
    (1014, "MPI_T_ERR_CVAR_SET_NOT_NOW"),
    (1015, "MPI_T_ERR_CVAR_SET_NEVER"),
    (1016, "MPI_T_ERR_PVAR_NO_WRITE"),
    (1017, "MPI_T_ERR_PVAR_NO_STARTSTOP"),
    (1018, "MPI_T_ERR_PVAR_NO_ATOMIC"),
];

/// Datatypes by handle, with their names; some have two.
pub(crate) const DATATYPES: &[(usize, &str)] = &[
    (513, "MPI_AINT"),
    (514, "MPI_COUNT"),
    (515, "MPI_OFFSET"),
    (519, "MPI_PACKED"),
    (520, "MPI_SHORT"),
    (521, "MPI_INT"),
    (522, "MPI_LONG"),
    (523, "MPI_LONG_LONG"),
    (523, "MPI_LONG_LONG_INT"),
    (524, "MPI_UNSIGNED_SHORT"),
    (525, "MPI_UNSIGNED"),
    (526, "MPI_UNSIGNED_LONG"),
    (527, "MPI_UNSIGNED_LONG_LONG"),
    (528, "MPI_FLOAT"),
    (530, "MPI_C_FLOAT_COMPLEX"),
    (530, "MPI_C_COMPLEX"),
    (531, "MPI_CXX_FLOAT_COMPLEX"),
    (532, "MPI_DOUBLE"),
    (534, "MPI_C_DOUBLE_COMPLEX"),
    (535, "MPI_CXX_DOUBLE_COMPLEX"),
    (536, "MPI_LOGICAL"),
    (537, "MPI_INTEGER"),
    (538, "MPI_REAL"),
    (539, "MPI_COMPLEX"),
    (540, "MPI_DOUBLE_PRECISION"),
    (541, "MPI_DOUBLE_COMPLEX"),
    (542, "MPI_CHARACTER"),
    (544, "MPI_LONG_DOUBLE"),
    (548, "MPI_C_LONG_DOUBLE_COMPLEX"),
    (549, "MPI_CXX_LONG_DOUBLE_COMPLEX"),
    (552, "MPI_FLOAT_INT"),
    (553, "MPI_DOUBLE_INT"),
    (554, "MPI_LONG_INT"),
    (555, "MPI_2INT"),
    (556, "MPI_SHORT_INT"),
    (557, "MPI_LONG_DOUBLE_INT"),
    (560, "MPI_2REAL"),
    (561, "MPI_2DOUBLE_PRECISION"),
    (562, "MPI_2INTEGER"),
    (568, "MPI_C_BOOL"),
    (569, "MPI_CXX_BOOL"),
    (572, "MPI_WCHAR"),
    (576, "MPI_INT8_T"),
    (577, "MPI_UINT8_T"),
    (579, "MPI_CHAR"),
    (580, "MPI_SIGNED_CHAR"),
    (581, "MPI_UNSIGNED_CHAR"),
    (583, "MPI_BYTE"),
    (584, "MPI_INT16_T"),
    (585, "MPI_UINT16_T"),
    (592, "MPI_INT32_T"),
    (593, "MPI_UINT32_T"),
    (600, "MPI_INT64_T"),
    (601, "MPI_UINT64_T"),
    (704, "MPI_LOGICAL1"),
    (705, "MPI_INTEGER1"),
    (712, "MPI_LOGICAL2"),
    (713, "MPI_INTEGER2"),
    (714, "MPI_REAL2"),
    (720, "MPI_LOGICAL4"),
    (721, "MPI_INTEGER4"),
    (722, "MPI_REAL4"),
    (723, "MPI_COMPLEX4"),
    (728, "MPI_LOGICAL8"),
    (729, "MPI_INTEGER8"),
    (730, "MPI_REAL8"),
    (731, "MPI_COMPLEX8"),
    (736, "MPI_LOGICAL16"),
    (737, "MPI_INTEGER16"),
    (738, "MPI_REAL16"),
    (739, "MPI_COMPLEX16"),
    (747, "MPI_COMPLEX32"),
];

/// Operations by handle, with their names; some have two.
pub(crate) const OPERATIONS: &[(usize, &str)] = &[
    (33, "MPI_SUM"),
    (34, "MPI_MIN"),
    (35, "MPI_MAX"),
    (36, "MPI_PROD"),
    (40, "MPI_BAND"),
    (41, "MPI_BOR"),
    (42, "MPI_BXOR"),
    (48, "MPI_LAND"),
    (49, "MPI_LOR"),
    (50, "MPI_LXOR"),
    (56, "MPI_MINLOC"),
    (57, "MPI_MAXLOC"),
    (60, "MPI_REPLACE"),
    (61, "MPI_NO_OP"),
];
