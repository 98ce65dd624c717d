/* html.h - character references of HTML in text, decoded in two ways */
#ifndef ENGINE_TEXT_HTML_H
#define ENGINE_TEXT_HTML_H

#include "engine/text/runes.h"

/* Append `in` to `out` with its references decoded once, by the rules of the HTML
 * standard: numbers and names, also without the semicolon where the standard lists the
 * name so (the longest such name counts). */
enum status html_unescape(const struct runes *in, struct runes *out, struct err *e);

/* The careful form that ftfy applies: a reference needs its semicolon and at most 24
 * letters and digits, is decoded whole or left alone, and an upper-cased name counts
 * where HTML does not know it. */
enum status html_unescape_careful(const struct runes *in, struct runes *out,
                                  struct err *e);

#endif
