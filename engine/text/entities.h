/* entities.h - look up the character references of HTML5 by name */
#ifndef ENGINE_TEXT_ENTITIES_H
#define ENGINE_TEXT_ENTITIES_H

#include <stddef.h>

struct entity {
    const char *name; /* without the ampersand, with the semicolon if it has one */
    const char *text; /* UTF-8 */
    int loud;         /* an upper-case spelling that HTML does not know */
};

/* The entity whose whole name is the `n` bytes at `name`, or NULL. */
const struct entity *entity_find(const char *name, size_t n);

#endif
