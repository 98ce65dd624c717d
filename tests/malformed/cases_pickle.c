/* cases_pickle.c - pickles that want more than tensors (encoders-vae-formats 7.4)
 *
 * Written as bytes: PROTO 2, then values. `good_pickle` in zip_make.c is the right one.
 */
#include <stdio.h>
#include <string.h>

#include "tests/malformed/harness.h"

#define P "\x80\x02"
#define GLOBAL(module, name) "c" module "\n" name "\n"
#define CALL(module, name) P GLOBAL(module, name) "(X\x04\0\0\0exittR."
#define STORAGE_OF(class, key, count) \
    "(X\x07\0\0\0storage" class "X\x01\0\0\0" key "X\x03\0\0\0cpu" count "tQ"
#define FLOATS STORAGE_OF(GLOBAL("torch", "FloatStorage"), "0", "K\x06")
#define HOOKS "ccollections\nOrderedDict\n)R"
#define V2 GLOBAL("torch._utils", "_rebuild_tensor_v2")
#define V3 GLOBAL("torch._utils", "_rebuild_tensor_v3")
#define SHAPE_23 "K\x02K\x03\x86K\x03K\x01\x86"
#define KEY       \
    "X\x01\0\0\0" \
    "a"
/* {"a": tensor(storage, offset, shape and stride)} */
#define TENSOR(storage, offset, shape) \
    P "}" KEY V2 "(" storage offset shape "\x89" HOOKS "tRs."
#define SHAPED(shape) TENSOR(FLOATS, "K\0", shape)
#define STORED(storage) TENSOR(storage, "K\0", SHAPE_23)
#define DICT_OF(value) P "}" KEY value "s."
#define BIG "\x8a\x06\0\0\0\0\0\x01" /* 2^40 */

struct pickle {
    const char *name, *bytes;
    size_t n;
    const char *reason;
};
#define ROW(name, bytes, reason)               \
    {                                          \
        name, bytes, sizeof(bytes) - 1, reason \
    }

static const struct pickle pickles[] = {
    /* names */
    ROW("os.system", CALL("os", "system"), "wants 'os.system'"),
    ROW("posix.system", CALL("posix", "system"), "wants 'posix.system'"),
    ROW("nt.system", CALL("nt", "system"), "wants 'nt.system'"),
    ROW("eval", CALL("builtins", "eval"), "wants 'builtins.eval'"),
    ROW("exec", CALL("__builtin__", "exec"), "wants '__builtin__.exec'"),
    ROW("getattr", CALL("builtins", "getattr"), "wants 'builtins.getattr'"),
    ROW("Popen", CALL("subprocess", "Popen"), "wants 'subprocess.Popen'"),
    ROW("exit", CALL("sys", "exit"), "wants 'sys.exit'"),
    ROW("import", CALL("importlib", "import_module"), "wants 'importlib"),
    ROW("partial", CALL("functools", "partial"), "wants 'functools.partial'"),
    ROW("torch.load", CALL("torch.serialization", "load"), "wants 'torch.serial"),
    ROW("torch.jit", CALL("torch.jit", "load"), "wants 'torch.jit.load'"),
    ROW("hub", CALL("torch.hub", "load"), "wants 'torch.hub.load'"),
    ROW("numpy", CALL("numpy.core.multiarray", "_reconstruct"), "wants 'numpy.core"),
    ROW("sparse", CALL("torch._utils", "_rebuild_sparse_tensor"),
        "wants 'torch._utils"),
    ROW("module", CALL("torch.nn.modules.linear", "Linear"), "wants 'torch.nn"),
    ROW("dotted name", CALL("collections", "OrderedDict.__init__"),
        "wants 'collections"),
    ROW("name in the module", CALL("torch", "_utils._rebuild_tensor_v2"),
        "wants 'torch._utils._rebuild_tensor_v2'"),
    ROW("space in a name", CALL("torch ", "FloatStorage"), "wants 'torch .Float"),
    ROW("escape in a name", CALL("\x1b[2J", "x"), "wants '\\x1b[2J.x'"),
    ROW("empty name", CALL("", ""), "wants '.'"),
    ROW("frozen dict", CALL("diffusers.configuration_utils", "FrozenDict"),
        "wants 'diff"),
    ROW("name without end", P "ctorch\nFloatStorage", "inside an operation"),
    ROW("module without end", P "ctorch", "inside an operation"),
    ROW("long name",
        P
        "caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nx\n.",
        "name of more than 128"),
    /* protocol and ends */
    ROW("empty", "", "not a pickle of protocol 2"),
    ROW("protocol 0", "(dp0\n.", "not a pickle of protocol 2"),
    ROW("protocol 3", "\x80\x03}.", "only protocol 2"),
    ROW("protocol 4", "\x80\x04\x95\0\0\0\0\0\0\0\0}.", "only protocol 2"),
    ROW("protocol 5", "\x80\x05}.", "only protocol 2"),
    ROW("protocol twice", P P "}.", "only protocol 2"),
    ROW("protocol cut", "\x80", "inside an operation"),
    ROW("no STOP", P "}", "ends without STOP"),
    ROW("nothing", P ".", "not one dict"),
    ROW("two values", P "}}.", "not one dict"),
    ROW("a mark left", P "}(.", "not one dict"),
    ROW("bytes after STOP", P "}.}", "bytes after STOP"),
    ROW("a number", P "K\x01.", "not one dict"),
    ROW("a list", P "].", "not one dict"),
    ROW("a tuple", P ").", "not one dict"),
    ROW("a name", P GLOBAL("torch", "FloatStorage") ".", "not one dict"),
    ROW("an empty dict", P "}.", "no tensors in it"),
    /* stack and memo */
    ROW("TUPLE1 of nothing", P "\x85.", "the stack is empty"),
    ROW("TUPLE2 of one", P "K\0\x86.", "the stack is empty"),
    ROW("TUPLE3 of two", P "K\0K\0\x87.", "the stack is empty"),
    ROW("TUPLE without mark", P "K\0t.", "no mark"),
    ROW("SETITEM on nothing", P "s.", "the stack is empty"),
    ROW("SETITEM on a number", P "K\0K\0K\0s.", "not a dict"),
    ROW("SETITEM through a mark", P "}(K\0s.", "the stack is empty"),
    ROW("SETITEMS without mark", P "}K\0K\0u.", "no mark"),
    ROW("SETITEMS of three", P "}(K\0K\0K\0u.", "a key without a value"),
    ROW("SETITEMS on nothing", P "(K\0K\0u.", "not a dict"),
    ROW("SETITEMS on a list", P "](K\0K\0u.", "not a dict"),
    ROW("APPEND on a dict", P "}K\0a.", "not a list"),
    ROW("APPEND on nothing", P "K\0a.", "not a list"),
    ROW("APPENDS on a tuple", P ")(K\0e.", "not a list"),
    ROW("REDUCE of nothing", P "R.", "the stack is empty"),
    ROW("REDUCE without name", P ")R.", "the stack is empty"),
    ROW("REDUCE of a text", P KEY ")R.", "not a name"),
    ROW("REDUCE without tuple", P V2 "}R.", "without a tuple"),
    ROW("REDUCE of a storage class", P GLOBAL("torch", "FloatStorage") ")R.",
        "cannot be"),
    ROW("REDUCE of a dtype", P GLOBAL("torch", "float8_e5m2") ")R.", "cannot be made"),
    ROW("BUILD on nothing", P "}b.", "not a dict"),
    ROW("BUILD with a text", P "}" KEY "b.", "not a dict"),
    ROW("BUILD on a name", P V2 "}b.", "not a dict"),
    ROW("BINGET unwritten", P "h\0.", "never written"),
    ROW("BINGET beyond", P "}q\0h\x01.", "never written"),
    ROW("LONG_BINGET huge", P "j\xff\xff\xff\xff.", "never written"),
    ROW("LONG_BINPUT huge", P "}r\xff\xff\xff\xff.", "more than 262144"),
    ROW("LONG_BINPUT 2^31", P "}r\0\0\0\x80.", "more than 262144"),
    ROW("BINPUT of nothing", P "q\0.", "the stack is empty"),
    ROW("BINPUT of a mark", P "(q\0.", "the stack is empty"),
    ROW("BINPUT cut", P "}q", "inside an operation"),
    ROW("LONG_BINPUT cut", P "}r\0\0", "inside an operation"),
    ROW("a dict in itself", P "}q\0" KEY "h\0s.", "'a' is not a tensor"),
    ROW("a list in itself", P "]q\0h\0a.", "not one dict"),
    /* literals */
    ROW("text past the end",
        P "X\xff\xff\xff\xff"
          "a.",
        "more than 4096"),
    ROW("text of 2^31",
        P "X\0\0\0\x80"
          "a.",
        "more than 4096"),
    ROW("text of 4097",
        P "X\x01\x10\0\0"
          "a.",
        "more than 4096"),
    ROW("text cut",
        P "X\x05\0\0\0"
          "abc",
        "inside an operation"),
    ROW("text length cut", P "X\x05\0", "inside an operation"),
    ROW("short text cut",
        P "U\x05"
          "abc",
        "inside an operation"),
    ROW("text not UTF-8", P "X\x01\0\0\0\xff.", "not text"),
    ROW("text with NUL", P "X\x03\0\0\0a\0b.", "not text"),
    ROW("integer cut", P "J\0\0", "inside an operation"),
    ROW("short integer cut", P "M\0", "inside an operation"),
    ROW("long of 9 bytes", P "\x8a\x09\0\0\0\0\0\0\0\0\0.", "more than 64 bits"),
    ROW("long cut", P "\x8a\x08\0\0", "inside an operation"),
    ROW("float cut", P "G\0\0", "inside an operation"),
    /* what a state dict holds */
    ROW("value is a number", DICT_OF("K\x01"), "'a' is not a tensor"),
    ROW("value is a text", DICT_OF(KEY), "'a' is not a tensor"),
    ROW("value is none", DICT_OF("N"), "'a' is not a tensor"),
    ROW("value is a dict", DICT_OF("}"), "only flat state dicts"),
    ROW("value is a list", DICT_OF("]"), "'a' is not a tensor"),
    ROW("value is a name", DICT_OF(V2), "'a' is not a tensor"),
    ROW("value is a storage", DICT_OF(FLOATS), "'a' is not a tensor"),
    ROW("key is a number", P "}K\x01K\x01s.", "a tensor name is not a text"),
    ROW("key is none", P "}NK\x01s.", "a tensor name is not a text"),
    ROW("key is empty", P "}X\0\0\0\0K\x01s.", "a tensor name is not a text"),
    /* storages */
    ROW("storage is a text", DICT_OF(KEY "Q"), "not described by a tuple"),
    ROW("storage of four", DICT_OF("(X\x07\0\0\0storageNNNtQ"), "strange description"),
    ROW("storage of none", DICT_OF("(NNNNNtQ"), "strange description"),
    ROW("storage by another word",
        DICT_OF("(X\x07\0\0\0storagX" GLOBAL("torch",
                                             "FloatStorage") "X\x01\0\0\0"
                                                             "0X\x03\0\0\0cpuK\x06tQ"),
        "strange description"),
    ROW("storage of a dict class",
        STORED(STORAGE_OF(GLOBAL("collections", "OrderedDict"), "0", "K\x06")),
        "strange descr"),
    ROW("storage key like a path",
        DICT_OF("(X\x07\0\0\0storage" GLOBAL(
            "torch", "FloatStorage") "X\x04\0\0\0../0X\x03\0\0\0cpuK\x06tQ"),
        "key is not a number"),
    ROW("storage key empty",
        DICT_OF("(X\x07\0\0\0storage" GLOBAL(
            "torch", "FloatStorage") "X\0\0\0\0X\x03\0\0\0cpuK\x06tQ"),
        "key is not a number"),
    ROW("storage key minus",
        DICT_OF("(X\x07\0\0\0storage" GLOBAL(
            "torch", "FloatStorage") "X\x02\0\0\0-1X\x03\0\0\0cpuK\x06tQ"),
        "key is not a number"),
    ROW("storage is missing",
        STORED(STORAGE_OF(GLOBAL("torch", "FloatStorage"), "7", "K\x06")),
        "'m/data/7', which is missing"),
    ROW("storage too small",
        STORED(STORAGE_OF(GLOBAL("torch", "FloatStorage"), "0", "K\x05")),
        "larger than its storage"),
    ROW("storage too large",
        STORED(STORAGE_OF(GLOBAL("torch", "FloatStorage"), "0", "K\x07")),
        "data.pkl says 28"),
    ROW("storage of another type",
        STORED(STORAGE_OF(GLOBAL("torch", "DoubleStorage"), "0", "K\x06")),
        "data.pkl says 48"),
    ROW("storage negative",
        STORED(STORAGE_OF(GLOBAL("torch", "FloatStorage"), "0", "J\xff\xff\xff\xff")),
        "impossible size"),
    ROW("storage huge",
        STORED(STORAGE_OF(GLOBAL("torch", "FloatStorage"), "0",
                          "\x8a\x08\0\0\0\0\0\0\0\x7f")),
        "impossible size"),
    ROW("storage without type",
        STORED(STORAGE_OF(GLOBAL("torch.storage", "UntypedStorage"), "0", "K\x18")),
        "without an element"),
    ROW("shorts", STORED(STORAGE_OF(GLOBAL("torch", "ShortStorage"), "0", "K\x0c")),
        "type I16, which is not read"),
    ROW("truths", STORED(STORAGE_OF(GLOBAL("torch", "BoolStorage"), "0", "K\x18")),
        "type BOOL, which is not read"),
    /* tensors */
    ROW("tensor of nothing", DICT_OF(V2 ")R"), "strange arguments"),
    ROW("tensor of five", DICT_OF(V2 "(" FLOATS "K\0" SHAPE_23 "\x89tR"),
        "strange argum"),
    ROW("tensor of eight", DICT_OF(V2 "(" FLOATS "K\0" SHAPE_23 "\x89" HOOKS "}}tR"),
        "strange arguments"),
    ROW("tensor without storage", DICT_OF(V2 "(NK\0" SHAPE_23 "\x89" HOOKS "tR"),
        "strange arguments"),
    ROW("tensor with hooks", DICT_OF(V2 "(" FLOATS "K\0" SHAPE_23 "\x89}K\0K\0stR"),
        "with hooks"),
    ROW("tensor with a name as hooks",
        DICT_OF(V2 "(" FLOATS "K\0" SHAPE_23 "\x89" V2 "tR"), "with hooks"),
    ROW("tensor with a number as flag",
        DICT_OF(V2 "(" FLOATS "K\0" SHAPE_23 "K\0" HOOKS "tR"), "with hooks"),
    ROW("offset negative", TENSOR(FLOATS, "J\xff\xff\xff\xff", SHAPE_23),
        "impossible offs"),
    ROW("offset text", TENSOR(FLOATS, KEY, SHAPE_23), "impossible offset"),
    ROW("offset 1", TENSOR(FLOATS, "K\x01", SHAPE_23), "larger than its storage"),
    ROW("offset huge", TENSOR(FLOATS, BIG, SHAPE_23), "larger than its storage"),
    ROW("offset 2^62", TENSOR(FLOATS, "\x8a\x08\0\0\0\0\0\0\0\x40", SHAPE_23),
        "impossible"),
    ROW("shape number", SHAPED("K\x06K\x01\x85"), "do not match"),
    ROW("shape list", SHAPED("]K\x01\x85"), "do not match"),
    ROW("shape of texts", SHAPED(KEY "\x85K\x01\x85"), "impossible size"),
    ROW("shape of two, stride of one", SHAPED("K\x02K\x03\x86K\x01\x85"),
        "do not match"),
    ROW("shape negative", SHAPED("J\xfe\xff\xff\xffK\x03\x86K\x03K\x01\x86"),
        "impossible"),
    ROW("shape too large", SHAPED("K\x02K\x04\x86K\x04K\x01\x86"),
        "larger than its st"),
    ROW("shape overflows", SHAPED(BIG BIG "\x86" BIG "K\x01\x86"), "impossible size"),
    ROW("shape overflows to zero",
        SHAPED("(" BIG BIG BIG BIG "t(K\x01K\x01K\x01K\x01t"), "impossible size"),
    ROW("shape of 2^63", SHAPED("\x8a\x08\0\0\0\0\0\0\0\x80\x85K\x01\x85"),
        "impossible"),
    ROW("shape rank 9",
        SHAPED("(K\1K\1K\1K\1K\1K\1K\1K\1K\6t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"), "8 axes"),
    ROW("stride transposed", SHAPED("K\x02K\x03\x86K\x01K\x02\x86"), "not dense"),
    ROW("stride zero", SHAPED("K\x02K\x03\x86K\0K\0\x86"), "not dense"),
    ROW("stride zero, much", SHAPED(BIG "\x85K\0\x85"), "not dense"),
    ROW("stride gap", SHAPED("K\x02K\x02\x86K\x03K\x01\x86"), "not dense"),
    ROW("stride negative", SHAPED("K\x06\x85J\xff\xff\xff\xff\x85"), "not dense"),
    ROW("stride of texts", SHAPED("K\x06\x85" KEY "\x85"), "impossible size"),
    ROW("v3 without type", DICT_OF(V3 "(" FLOATS "K\0" SHAPE_23 "\x89" HOOKS "tR"),
        "strange"),
    ROW("v3 of a class",
        DICT_OF(V3 "(" FLOATS "K\0" SHAPE_23
                   "\x89" HOOKS GLOBAL("torch", "FloatStorage") "tR"),
        "without an elem"),
    ROW("v3 of a text", DICT_OF(V3 "(" FLOATS "K\0" SHAPE_23 "\x89" HOOKS KEY "tR"),
        "without an element type"),
    ROW("parameter of nothing",
        DICT_OF(GLOBAL("torch._utils", "_rebuild_parameter") ")R"),
        "a parameter with strange"),
    ROW("parameter of a text",
        DICT_OF(GLOBAL("torch._utils", "_rebuild_parameter") "(" KEY "\x89}tR"),
        "a parameter with strange"),
    ROW("size of nothing", DICT_OF(GLOBAL("torch", "Size") ")R"), "torch.Size"),
    ROW("dict with arguments", DICT_OF(GLOBAL("collections", "OrderedDict") "K\0\x85R"),
        "with arguments"),
    ROW("two on the same bytes",
        P "}(" KEY V2 "(" FLOATS "K\0" SHAPE_23 "\x89" HOOKS "tRq\0X\x01\0\0\0"
          "bh\0u.",
        "share their bytes"),
    ROW("two that overlap",
        P "}(" KEY V2 "(" FLOATS "K\0K\x03\x85K\x01\x85\x89" HOOKS "tR"
          "X\x01\0\0\0"
          "b" V2 "(" FLOATS "K\x02K\x03\x85K\x01\x85\x89" HOOKS "tRu.",
        "share their bytes"),
    ROW("the same name twice",
        P "}(" KEY V2 "(" FLOATS "K\0K\x03\x85K\x01\x85\x89" HOOKS "tR" KEY V2
          "(" FLOATS "K\x03K\x03\x85K\x01\x85\x89" HOOKS "tRu.",
        "occurs twice"),
};

/* Right ones, with what other versions of torch write. */
static const struct pickle right[] = {
    ROW("a parameter",
        DICT_OF(GLOBAL("torch._utils", "_rebuild_parameter") "(" V2 "(" FLOATS
                                                             "K\0" SHAPE_23 "\x89" HOOKS
                                                             "tR\x88" HOOKS "tR"),
        ""),
    ROW("an old tensor",
        DICT_OF(GLOBAL("torch._utils", "_rebuild_tensor") "(" FLOATS "K\0" SHAPE_23
                                                          "tR"),
        ""),
    ROW("a float8",
        DICT_OF(V3 "(" STORAGE_OF(
            GLOBAL("torch.storage", "UntypedStorage"), "0",
            "K\x18") "K\x04(K\x02K\x01K\x0atK\x0aK\x0aK\x01\x87\x89" HOOKS
                    GLOBAL("torch", "float8_e4m3fn") "tR"),
        ""),
    ROW("a size",
        P "}(" KEY V2 "(" FLOATS
          "K\0" GLOBAL("torch", "Size") "K\x06\x85\x85RM\x01\0\x85\x89" HOOKS
                                        "NtRu}X\x01\0\0\0mNsb.",
        ""),
    ROW("a scalar and nothing",
        P "}(" KEY V2 "(" FLOATS "\x8a\0))\x89" HOOKS "tRU\x01"
          "b" V2 "(" FLOATS "K\x06K\0\x85K\x01\x85\x89" HOOKS "tRu.",
        ""),
};

static const char known[] = "\x80"
                            "c})](t\x85\x86\x87XUJKM\x8aG\x88\x89NqrhjQRsuaeb.";

/* Every operation that is not on the list. */
static void cases_operations(void)
{
    for (int op = 0; op < 256; op++) {
        char bytes[] = P "}q\0( .", name[32], reason[64];

        if (memchr(known, op, sizeof(known) - 1))
            continue;
        bytes[6] = (char)op;
        snprintf(name, sizeof(name), "operation %02x", (unsigned)op);
        snprintf(reason, sizeof(reason), "operation 0x%02x at byte 6", (unsigned)op);
        bad(BAD_PICKLE, name, bytes, sizeof(bytes) - 1, reason);
    }
}

static void cases_cut(void)
{
    char name[32];

    bad_status(BAD_PICKLE, "valid", good_pickle, good_pickle_bytes, ST_OK, NULL);
    for (size_t n = 0; n < good_pickle_bytes; n += 3) {
        snprintf(name, sizeof(name), "cut to %zu bytes", n);
        bad(BAD_PICKLE, name, good_pickle, n, NULL);
    }
}

static void case_repeat(const char *name, const char *head, const char *unit,
                        size_t unit_bytes, size_t times, const char *reason)
{
    struct buf b = BUF_INIT;

    buf_adds(&b, head);
    for (size_t i = 0; i < times; i++)
        buf_add(&b, unit, unit_bytes);
    buf_adds(&b, ".");
    bad(BAD_PICKLE, name, b.data, b.len, reason);
    buf_release(&b);
}

void cases_pickle(void)
{
    for (size_t i = 0; i < sizeof(pickles) / sizeof(pickles[0]); i++)
        bad(BAD_PICKLE, pickles[i].name, pickles[i].bytes, pickles[i].n,
            pickles[i].reason);
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        bad_status(BAD_PICKLE, right[i].name, right[i].bytes, right[i].n, ST_OK, NULL);
    cases_operations();
    cases_cut();
    case_repeat("a million marks", P, "(", 1, 1000000, "more than 262144");
    case_repeat("a million dicts", P, "}", 1, 1000000, "more than 262144");
    case_repeat("a list of millions", P "]", "}a", 2, 8000000, "24 MiB of memory");
    case_repeat("tuples of millions", P, ")\x85\x85\x85\x85\x85\x85\x85", 8, 1000000,
                "24 MiB of memory");
    case_repeat("deep tuples", P "N", "\x85", 1, 8000000, "24 MiB of memory");
    case_repeat("a memo of millions", P "}", "q\0", 2, 8000000, "no tensors in it");
    case_repeat("16 MiB of nothing", P "}", "q\0", 2, 9000000,
                "at most 16777216 allowed");
}
