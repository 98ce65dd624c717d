/* read_config.c - comparisons between config files, shapes and constants */
#include "engine/weights/read_config.h"

#include <string.h>

static const int64_t integer_max = INT64_C(1) << 53;

enum status config_agrees(struct json_value config, const char *key, int64_t value,
                          struct err *e)
{
    int64_t given = value;

    TRY(json_opt_int(config, key, -integer_max, integer_max, &given, e));
    if (given != value)
        return json_refuse(json_find(config, key), e, "is %lld, the tensors say %lld",
                           (long long)given, (long long)value);
    return ST_OK;
}

enum status config_is_true(struct json_value config, const char *key, struct err *e)
{
    bool given = true;

    TRY(json_opt_bool(config, key, &given, e));
    if (!given)
        return json_refuse(json_find(config, key), e, "is false, must be true");
    return ST_OK;
}

enum status config_is_text(struct json_value config, const char *key, const char *value,
                           struct err *e)
{
    const char *given = value;

    TRY(json_opt_string(config, key, &given, e));
    if (strcmp(given, value) != 0)
        return json_refuse(json_find(config, key), e, "is '%.60s', must be '%s'", given,
                           value);
    return ST_OK;
}

enum status config_is_list(struct json_value config, const char *key, int n,
                           const int64_t *value, struct err *e)
{
    struct json_value v = json_find(config, key);
    int64_t given[8];
    int count = 0;

    if (json_kind(v) <= JSON_NULL)
        return ST_OK;
    TRY(json_ints(v, -integer_max, integer_max, 8, given, &count, e));
    if (count != n || memcmp(given, value, (size_t)n * sizeof(*value)) != 0)
        return json_refuse(v, e, "is not the one that this architecture has");
    return ST_OK;
}

enum status config_dim(const struct component *c, const char *what, int64_t value,
                       int64_t max, struct err *e)
{
    if (value >= 1 && value <= max)
        return ST_OK;
    return err_set(e, ST_INPUT, "'%s': %s %lld, 1 to %lld possible",
                   source_path(c->source), what, (long long)value, (long long)max);
}
