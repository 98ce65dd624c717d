/* cases_index.c - shard indices that lie or point elsewhere
 *
 * Beside the index lie a.safetensors and a2.safetensors ("x" each), b.safetensors ("y",
 * "z"), links l (to a file outside) and m, a folder, a fifo, and a file of text. */
#include <string.h>

#include "tests/malformed/harness.h"

#define MAP(x, y, z) "{\"weight_map\":{\"x\":" x ",\"y\":" y ",\"z\":" z "}}"
#define B "\"b.safetensors\""
#define SHARD(name) MAP("\"" name "\"", B, B)

static const struct {
    const char *name, *text, *reason;
} texts[] = {
    {"list", "[]", "not an object"},
    {"text", "\"a\"", "not an object"},
    {"no map", "{}", "'weight_map' is missing"},
    {"map in capitals", "{\"Weight_Map\":{}}", "'weight_map' is missing"},
    {"map is a list", "{\"weight_map\":[]}", "'weight_map' is a list"},
    {"map is null", "{\"weight_map\":null}", "'weight_map' is null"},
    {"map is a text", "{\"weight_map\":\"a\"}", "'weight_map' is \"a\""},
    {"map is empty", "{\"weight_map\":{}}", "names 0 tensors"},
    {"map twice", "{\"weight_map\":{},\"weight_map\":{}}", "occurs twice"},
    {"tensor twice", "{\"weight_map\":{\"x\":" B ",\"x\":" B "}}", "'x' occurs twice"},
    {"shard is a number", MAP("1", B, B), "'x' is 1, must be a string"},
    {"shard is null", MAP("null", B, B), "'x' is null"},
    {"shard is a list", MAP("[" B "]", B, B), "'x' is a list"},
    {"shard is an object", MAP("{}", B, B), "'x' is an object"},
    {"shard above", SHARD("../c.safetensors"), "not a plain name"},
    {"shard far above", SHARD("../../../../etc/passwd"), "not a plain name"},
    {"shard absolute", SHARD("/etc/passwd"), "not a plain name"},
    {"shard below", SHARD("folder.safetensors/file"), "not a plain name"},
    {"shard beside", SHARD("./a.safetensors"), "not a plain name"},
    {"shard there and back", SHARD("x/../a.safetensors"), "not a plain name"},
    {"shard with backslash", SHARD("..\\\\c.safetensors"), "not a plain name"},
    {"shard on a drive", SHARD("C:a.safetensors"), "not a plain name"},
    {"shard as URL", SHARD("file:a.safetensors"), "not a plain name"},
    {"shard without name", SHARD(""), "not a plain name"},
    {"shard is a dot", SHARD("."), "not a plain name"},
    {"shard is two dots", SHARD(".."), "not a plain name"},
    {"shard with two dots", SHARD("a..safetensors"), "not a plain name"},
    {"shard with new line", SHARD("a\\n.safetensors"), "not a plain name"},
    {"shard with escape", SHARD("\\u001b[2J"), "'\\x1b[2J', which is not a plain name"},
    {"shard with NUL", SHARD("a.safetensors\\u0000.txt"), "NUL in a string"},
    {"shard is a link outside", SHARD("l.safetensors"), "l.safetensors'"},
    {"shard is a link inside", SHARD("m.safetensors"), "m.safetensors'"},
    {"shard is a folder", SHARD("folder.safetensors"), "folder.safetensors'"},
    {"shard is a fifo", SHARD("fifo.safetensors"), "fifo.safetensors'"},
    {"shard is missing", SHARD("none.safetensors"), "none.safetensors'"},
    {"shard in capitals", SHARD("A.safetensors"), "A.safetensors'"},
    {"shard is text", SHARD("text.safetensors"), "text.safetensors'"},
    {"shard is the index", SHARD("bad.safetensors.index.json"), "index.json"},
    {"tensor in another shard", MAP(B, B, B), "'x' is not in 'b.safetensors'"},
    {"tensors exchanged", MAP(B, "\"a.safetensors\"", B), "'x' is not in"},
    {"tensor of no shard",
     "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":" B ",\"z\":" B ",\"w\":" B "}}",
     "'w' is not in 'b.safetensors'"},
    {"tensor not in the map", "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":" B "}}",
     "is not in weight_map"},
    {"tensor in two shards",
     "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"a2.safetensors\"}}",
     "tensor 'x' is in"},
    {"deep", "{\"metadata\":[[[[]]]]}", "nesting too deep"},
    {"cut", "{\"weight_map\":{\"x\":\"a.safe", "without an end"},
    {"empty", "", "text ends early"},
};

void cases_index(void)
{
    static const char good[] = SHARD("a.safetensors");
    struct buf b = BUF_INIT;
    char name[300];

    bad_status(BAD_INDEX, "valid", good, sizeof(good) - 1, ST_OK, NULL);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        bad_text(BAD_INDEX, texts[i].name, texts[i].text, texts[i].reason);
    memset(name, 'n', 299);
    name[299] = '\0';
    buf_addf(&b, "{\"weight_map\":{\"x\":\"%s\"}}", name);
    bad(BAD_INDEX, "long shard name", b.data, b.len, "not a plain name");
    buf_release(&b);
    buf_adds(&b, "{\"weight_map\":{\"x\":\"a.safetensors\"");
    for (int i = 0; i < 80000; i++)
        buf_addf(&b, ",\"t%d\":\"a.safetensors\"", i);
    buf_adds(&b, "}}");
    bad(BAD_INDEX, "80000 tensors", b.data, b.len, "bytes of memory");
    buf_release(&b);
    buf_adds(&b, "{\"weight_map\":{\"x\":\"a.safetensors\"");
    for (int i = 0; i < 5000; i++)
        buf_addf(&b, ",\"t%d\":\"s%d.safetensors\"", i, i);
    buf_adds(&b, "}}");
    bad(BAD_INDEX, "5000 shards", b.data, b.len, "at most 4096 allowed");
    buf_release(&b);
    for (int i = 0; i < 420000; i++)
        buf_adds(&b, "          ");
    bad(BAD_INDEX, "4.2 MB of spaces", b.data, b.len, "at most 4194304 allowed");
    buf_release(&b);
}
