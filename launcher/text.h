/* text.h - a text that rank 0 has read becomes everybody's */
#ifndef LAUNCHER_TEXT_H
#define LAUNCHER_TEXT_H

#include "dist/world.h"
#include "kernels/base/buf.h"

/* Rank 0's text replaces that of the others, which is empty. Collective. */
enum status text_share(struct world *w, struct buf *text, struct err *e);

#endif
