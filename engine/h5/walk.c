/* walk.c - links, types, shapes, storage, values: checked in this order */
#include "engine/h5/walk.h"

#include <stdlib.h>
#include <string.h>

#include "engine/h5/ids.h"

enum { CHUNK_BYTES_MAX = 8 << 20, FILTERS_MAX = 3 };

/* ---- objects --------------------------------------------------------------------- */

/* Open the object `part` of the group `at`; *out is -1 when it is not there. */
static enum status link_follow(hid_t at, const char *part, const char *path, hid_t *out,
                               struct err *e)
{
    H5L_info_t info;
    htri_t there;

    if (H5Iget_type(at) != H5I_GROUP)
        return err_set(e, ST_INPUT, "a part of '%s' is not a group", path);
    there = H5Lexists(at, part, H5P_DEFAULT);
    if (there < 0)
        return err_set(e, ST_INPUT, "the group that holds '%s' is damaged", path);
    *out = -1;
    if (there == 0)
        return ST_OK;
    if (H5Lget_info(at, part, &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD)
        return err_set(e, ST_INPUT, "'%s' is reached through a soft or external link",
                       path);
    *out = H5Oopen(at, part, H5P_DEFAULT);
    if (*out < 0)
        return err_set(e, ST_INPUT, "object '%s' is damaged", path);
    return ST_OK;
}

/* Open what `path` names ("": the root); *out is -1 when it is not there. */
static enum status object_open(hid_t file, const char *path, hid_t *out, struct err *e)
{
    const char *rest = path;
    hid_t at = H5Gopen2(file, "/", H5P_DEFAULT);

    if (at < 0)
        return err_set(e, ST_INPUT, "the root group is damaged");
    while (*rest && at >= 0) {
        char part[H5_NAME_MAX];
        size_t n = strcspn(rest, "/");
        hid_t next = -1;
        enum status st;

        memcpy(part, rest, n);
        part[n] = '\0';
        rest += n + (rest[n] == '/');
        st = link_follow(at, part, path, &next, e);
        H5Oclose(at);
        if (st != ST_OK)
            return st;
        at = next;
    }
    *out = at;
    return ST_OK;
}

/* ---- types ----------------------------------------------------------------------- */

/* The IEEE formats of 2, 4 and 8 bytes, in either byte order. */
static bool type_is_float(hid_t type)
{
    static const struct {
        size_t bytes, sign, exp_at, exp_bits, frac_bits, bias;
    } formats[] = {
        {2, 15, 10, 5, 10, 15}, {4, 31, 23, 8, 23, 127}, {8, 63, 52, 11, 52, 1023}};
    size_t sign, exp_at, exp_bits, frac_at, frac_bits;

    if (H5Tget_class(type) != H5T_FLOAT || H5Tget_norm(type) != H5T_NORM_IMPLIED ||
        H5Tget_offset(type) != 0 || H5Tget_order(type) > H5T_ORDER_BE ||
        H5Tget_fields(type, &sign, &exp_at, &exp_bits, &frac_at, &frac_bits) < 0)
        return false;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (H5Tget_size(type) == formats[i].bytes && sign == formats[i].sign &&
            exp_at == formats[i].exp_at && exp_bits == formats[i].exp_bits &&
            frac_at == 0 && frac_bits == formats[i].frac_bits &&
            H5Tget_ebias(type) == formats[i].bias)
            return true;
    }
    return false;
}

static bool type_is_integer(hid_t type)
{
    return H5Tget_class(type) == H5T_INTEGER && H5Tget_size(type) <= 8;
}

/* ---- shapes and storage ---------------------------------------------------------- */

/* What is known of a dataset once it has been checked. */
struct shape {
    hsize_t dims[H5_RANK_MAX];
    hsize_t count;     /* elements */
    size_t item_bytes; /* as stored */
};

static enum status shape_check(hid_t space, const struct h5_array *a, struct shape *s,
                               struct err *e)
{
    if (H5Sget_simple_extent_type(space) != H5S_SIMPLE ||
        H5Sget_simple_extent_ndims(space) != a->rank ||
        H5Sget_simple_extent_dims(space, s->dims, NULL) != a->rank)
        return err_set(e, ST_INPUT, "dataset '%s' does not have %d dimensions", a->path,
                       a->rank);
    s->count = 1;
    for (int k = 0; k < a->rank; k++) {
        if (a->dims[k] >= 0 && s->dims[k] != (hsize_t)a->dims[k])
            return err_set(e, ST_INPUT,
                           "dataset '%s' has %llu, not %lld, along axis %d", a->path,
                           (unsigned long long)s->dims[k], (long long)a->dims[k], k);
        if (s->dims[k] == 0 || s->dims[k] > (hsize_t)a->max_count / s->count)
            return err_set(e, ST_INPUT,
                           "dataset '%s' has no or more than %lld elements", a->path,
                           (long long)a->max_count);
        s->count *= s->dims[k];
    }
    return ST_OK;
}

/* Allowed filters, each once. *checked: fletcher32; *packed: deflate. */
static bool filters_check(hid_t plist, bool *checked, bool *packed)
{
    int n = H5Pget_nfilters(plist);
    bool shuffled = false;

    *checked = false;
    *packed = false;
    if (n < 0 || n > FILTERS_MAX)
        return false;
    for (int i = 0; i < n; i++) {
        unsigned flags, config;
        size_t n_values = 0;
        H5Z_filter_t id = H5Pget_filter2(plist, (unsigned)i, &flags, &n_values, NULL, 0,
                                         NULL, &config);
        bool *seen = id == H5Z_FILTER_FLETCHER32 ? checked
                     : id == H5Z_FILTER_DEFLATE  ? packed
                     : id == H5Z_FILTER_SHUFFLE  ? &shuffled
                                                 : NULL;

        if (!seen || *seen)
            return false;
        *seen = true;
    }
    return true;
}

/* Every chunk is there, none is large, and without compression the bytes add up. */
static bool chunks_check(hid_t dset, hid_t space, hid_t plist, int rank,
                         const struct shape *s)
{
    hsize_t chunk[H5_RANK_MAX];
    hsize_t bytes = s->item_bytes, wanted = 1, there = 0;
    bool checked, packed;

    if (!filters_check(plist, &checked, &packed) ||
        H5Pget_chunk(plist, rank, chunk) != rank)
        return false;
    for (int k = 0; k < rank; k++) {
        if (chunk[k] == 0 || chunk[k] > CHUNK_BYTES_MAX / bytes)
            return false;
        bytes *= chunk[k];
        wanted *= (s->dims[k] + chunk[k] - 1) / chunk[k];
    }
    if (H5Dget_num_chunks(dset, space, &there) < 0 || there != wanted)
        return false;
    return packed || H5Dget_storage_size(dset) == wanted * (bytes + (checked ? 4 : 0));
}

static enum status storage_check(hid_t dset, hid_t space, hid_t plist,
                                 const struct h5_array *a, const struct shape *s,
                                 struct err *e)
{
    H5D_layout_t layout = H5Pget_layout(plist);

    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED)
        return err_set(e, ST_INPUT, "dataset '%s' is virtual", a->path);
    if (H5Pget_external_count(plist) != 0)
        return err_set(e, ST_INPUT, "dataset '%s' is stored in another file", a->path);
    if (layout == H5D_CHUNKED && !chunks_check(dset, space, plist, a->rank, s))
        return err_set(e, ST_INPUT,
                       "dataset '%s' has missing or large chunks or unknown filters",
                       a->path);
    if (layout != H5D_CHUNKED &&
        (H5Pget_nfilters(plist) != 0 ||
         H5Dget_storage_size(dset) != s->count * s->item_bytes))
        return err_set(e, ST_INPUT, "dataset '%s' is not stored whole", a->path);
    return ST_OK;
}

/* ---- values ---------------------------------------------------------------------- */

/* Pieces of a row-major array: `block` is what one read takes; axes before `axis` go
 * one by one, `axis` in steps, the ones after are whole. */
struct pieces {
    int axis;
    hsize_t block[H5_RANK_MAX];
    hsize_t at[H5_RANK_MAX];
};

static void pieces_plan(struct pieces *p, int rank, size_t item, const hsize_t *dims)
{
    hsize_t room = WIRE_PIECE / item;

    memset(p, 0, sizeof(*p));
    for (p->axis = rank - 1; p->axis > 0 && dims[p->axis] <= room; p->axis--) {
        p->block[p->axis] = dims[p->axis];
        room /= dims[p->axis];
    }
    p->block[p->axis] = dims[p->axis] < room ? dims[p->axis] : room;
    for (int k = 0; k < p->axis; k++)
        p->block[k] = 1;
}

/* Move on; false when the last piece is done. */
static bool pieces_next(struct pieces *p, const hsize_t *dims)
{
    for (int k = p->axis; k >= 0; k--) {
        p->at[k] += p->block[k];
        if (p->at[k] < dims[k])
            return true;
        p->at[k] = 0;
    }
    return false;
}

static enum status piece_send(hid_t dset, hid_t space, const struct h5_array *a,
                              const struct shape *s, const struct pieces *p, void *room,
                              struct h5_sink *sink, struct err *e)
{
    hid_t type = a->integers ? H5T_NATIVE_INT64 : H5T_NATIVE_FLOAT;
    hsize_t block[H5_RANK_MAX];
    hsize_t n = 1;
    hid_t memory;
    herr_t rc;

    for (int k = 0; k < a->rank; k++) {
        block[k] = p->block[k];
        if (block[k] > s->dims[k] - p->at[k])
            block[k] = s->dims[k] - p->at[k];
        n *= block[k];
    }
    memory = H5Screate_simple(1, &n, NULL);
    rc = H5Sselect_hyperslab(space, H5S_SELECT_SET, p->at, NULL, block, NULL);
    if (rc >= 0)
        rc = H5Dread(dset, type, memory, space, H5P_DEFAULT, room);
    H5Sclose(memory);
    if (rc < 0)
        return err_set(e, ST_INPUT, "the values of dataset '%s' are damaged", a->path);
    return sink->put(sink->self, WIRE_DATA, room, n * wire_item_bytes(a), e);
}

static enum status values_send(hid_t dset, hid_t space, const struct h5_array *a,
                               const struct shape *s, struct h5_sink *sink,
                               struct err *e)
{
    void *room = malloc(WIRE_PIECE);
    enum status st = ST_OK;
    struct pieces p;

    if (!room)
        return err_set(e, ST_INPUT, "no memory to read dataset '%s'", a->path);
    pieces_plan(&p, a->rank, wire_item_bytes(a), s->dims);
    do {
        st = piece_send(dset, space, a, s, &p, room, sink, e);
    } while (st == ST_OK && pieces_next(&p, s->dims));
    free(room);
    return st;
}

/* ---- the request ----------------------------------------------------------------- */

static enum status dataset_send(hid_t dset, const struct h5_array *a,
                                struct h5_sink *sink, struct h5_ids *ids, struct err *e)
{
    hid_t type = h5_keep(ids, H5Dget_type(dset));
    hid_t space = h5_keep(ids, H5Dget_space(dset));
    hid_t plist = h5_keep(ids, H5Dget_create_plist(dset));
    int64_t dims[H5_RANK_MAX];
    struct shape s;

    if (type < 0 || space < 0 || plist < 0)
        return err_set(e, ST_INPUT, "dataset '%s' is damaged", a->path);
    if (a->integers && (!type_is_integer(type) || H5Tget_sign(type) != H5T_SGN_2))
        return err_set(e, ST_INPUT, "dataset '%s' does not hold signed integers",
                       a->path);
    if (!a->integers && !type_is_float(type))
        return err_set(e, ST_INPUT,
                       "dataset '%s' does not hold floats of 2, 4 or 8 bytes", a->path);
    s.item_bytes = H5Tget_size(type);
    TRY(shape_check(space, a, &s, e));
    TRY(storage_check(dset, space, plist, a, &s, e));
    for (int k = 0; k < a->rank; k++)
        dims[k] = (int64_t)s.dims[k];
    TRY(sink->put(sink->self, WIRE_SHAPE, dims, (size_t)a->rank * sizeof(dims[0]), e));
    return wire_values_wanted(a) ? values_send(dset, space, a, &s, sink, e) : ST_OK;
}

static enum status array_send(hid_t file, const struct h5_array *a,
                              struct h5_sink *sink, struct err *e)
{
    struct h5_ids ids = {{0}, 0};
    enum status st;
    hid_t object;

    TRY(object_open(file, a->path, &object, e));
    if (object < 0)
        return sink->put(sink->self, WIRE_ABSENT, NULL, 0, e);
    h5_keep(&ids, object);
    if (H5Iget_type(object) == H5I_DATASET)
        st = dataset_send(object, a, sink, &ids, e);
    else
        st = err_set(e, ST_INPUT, "'%s' is not a dataset", a->path);
    h5_close(&ids);
    return st;
}

static enum status int_send(hid_t attr, hid_t type, const struct h5_attr *t,
                            struct h5_sink *sink, struct err *e)
{
    bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
    int64_t v = 0;

    if (!type_is_integer(type) ||
        H5Aread(attr, is_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64, &v) < 0)
        return err_set(e, ST_INPUT, "attribute '%s' is not an integer", t->name);
    if (!is_signed && v < 0)
        return err_set(e, ST_INPUT, "attribute '%s' is above 2^63 - 1", t->name);
    return sink->put(sink->self, WIRE_VALUE, &v, sizeof(v), e);
}

static enum status real_send(hid_t attr, hid_t type, const struct h5_attr *t,
                             struct h5_sink *sink, struct err *e)
{
    double v = 0;

    if ((!type_is_float(type) && !type_is_integer(type)) ||
        H5Aread(attr, H5T_NATIVE_DOUBLE, &v) < 0)
        return err_set(e, ST_INPUT, "attribute '%s' is not a number", t->name);
    return sink->put(sink->self, WIRE_VALUE, &v, sizeof(v), e);
}

static enum status text_send(hid_t attr, hid_t type, const struct h5_attr *t,
                             struct h5_sink *sink, struct h5_ids *ids, struct err *e)
{
    hid_t memory = h5_keep(ids, H5Tcopy(type));
    size_t bytes = H5Tget_size(type);
    enum status st;
    char *text;

    if (memory < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0)
        return err_set(e, ST_INPUT, "attribute '%s' is not a text of fixed length",
                       t->name);
    if (bytes >= t->text_bytes)
        return err_set(e, ST_INPUT, "attribute '%s' has %zu bytes, %zu at most",
                       t->name, bytes, t->text_bytes - 1);
    text = calloc(1, bytes + 1);
    if (!text || H5Tset_size(memory, bytes + 1) < 0 ||
        H5Tset_strpad(memory, H5T_STR_NULLTERM) < 0 || H5Aread(attr, memory, text) < 0)
        st = err_set(e, ST_INPUT, "attribute '%s' is damaged", t->name);
    else
        st = sink->put(sink->self, WIRE_VALUE, text, strnlen(text, bytes), e);
    free(text);
    return st;
}

static enum status value_send(hid_t object, const struct h5_attr *t,
                              struct h5_sink *sink, struct h5_ids *ids, struct err *e)
{
    hid_t attr = h5_keep(ids, H5Aopen(object, t->name, H5P_DEFAULT));
    hid_t type = h5_keep(ids, attr < 0 ? -1 : H5Aget_type(attr));
    hid_t space = h5_keep(ids, attr < 0 ? -1 : H5Aget_space(attr));

    if (type < 0 || space < 0)
        return err_set(e, ST_INPUT, "attribute '%s' is damaged", t->name);
    if (H5Sget_simple_extent_type(space) == H5S_NULL ||
        H5Sget_simple_extent_npoints(space) != 1)
        return err_set(e, ST_INPUT, "attribute '%s' is not a single value", t->name);
    switch (t->kind) {
    case H5_ATTR_INT:
        return int_send(attr, type, t, sink, e);
    case H5_ATTR_REAL:
        return real_send(attr, type, t, sink, e);
    default:
        return text_send(attr, type, t, sink, ids, e);
    }
}

static enum status attr_send(hid_t file, const struct h5_attr *t, struct h5_sink *sink,
                             struct err *e)
{
    struct h5_ids ids = {{0}, 0};
    enum status st;
    htri_t there;
    hid_t object;

    TRY(object_open(file, t->object, &object, e));
    h5_keep(&ids, object);
    there = object < 0 ? 0 : H5Aexists(object, t->name);
    if (there < 0)
        st = err_set(e, ST_INPUT, "the attributes of '%s' are damaged", t->object);
    else if (there == 0)
        st = sink->put(sink->self, WIRE_ABSENT, NULL, 0, e);
    else
        st = value_send(object, t, sink, &ids, e);
    h5_close(&ids);
    return st;
}

enum status h5_walk(hid_t file, const struct wire_request *rq, struct h5_sink *sink,
                    struct err *e)
{
    for (int i = 0; i < rq->n_arrays; i++)
        TRY(array_send(file, &rq->arrays[i], sink, e));
    for (int i = 0; i < rq->n_attrs; i++)
        TRY(attr_send(file, &rq->attrs[i], sink, e));
    return ST_OK;
}
