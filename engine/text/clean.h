/* clean.h - a prompt as the reference pipelines feed it to their tokenizer
 *
 * The published pipelines repair prompts before they tokenize them: ftfy.fix_text, then
 * html.unescape twice, then every run of white space becomes one space and both ends
 * are cut off. text_clean gives the same text, so "A&nbsp;cat，ﬁne" becomes
 * "A cat,fine" and reaches the model as the tokens it was trained on.
 *
 * One part of ftfy is left out: the repair of mojibake (text that was decoded with the
 * wrong code page, "voilÃ" for "voilà"). It is a heuristic over large tables; text that
 * reaches this program broken in that way stays as it is. Everything else is equal to
 * ftfy 6.3 and Python 3.11, apart from characters that are newer than the installed
 * utf8proc.
 *
 * Bytes that are not UTF-8 become U+FFFD, one for each.
 */
#ifndef ENGINE_TEXT_CLEAN_H
#define ENGINE_TEXT_CLEAN_H

#include <stddef.h>

#include "kernels/base/err.h"

enum { PROMPT_MAX_BYTES = 1 << 20 };

/* Clean `n` bytes of text. On ST_OK *out is NUL-terminated UTF-8 (maybe empty) that the
 * caller frees. A text longer than PROMPT_MAX_BYTES is ST_USAGE, and so is one with
 * entities in entities so deep that repair would take long. */
enum status text_clean(const char *text, size_t n, char **out, struct err *e);

#endif
