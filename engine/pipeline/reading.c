/* reading.c - from a flag and the number of ranks to a store's policy */
#include "engine/pipeline/reading.h"

void reading_init(struct reading *r, const struct engine_options *o,
                  const struct ops *ops)
{
    bool host = ops_facts(ops)->space == MEM_HOST;
    bool several = world_facts(o->world)->size > 1;
    int by = o->read_weights == READ_AUTO ? READ_NODE : o->read_weights;

    r->way = (enum weights_way)o->convert_weights;
    r->shares = several && host && by != READ_EACH;
    r->teams = several && by != READ_EACH && (!host || by == READ_ONCE);
    share_init(&r->share, o->world);
    team_init(&r->team,
              host              ? TEAM_LEADERS
              : by == READ_ONCE ? TEAM_ALL
                                : TEAM_NODE,
              o->world);
}

void reading_apply(struct reading *r, struct weights_policy *policy)
{
    policy->way = r->way;
    policy->share = r->shares ? &r->share.calls : NULL;
    policy->team = r->teams ? &r->team.calls : NULL;
}
