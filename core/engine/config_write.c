/* config_write.c - a config tree as canonical text that reads back to the same tree. */
#include "engine/config_tree.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    char *text;
    size_t length, room;
    bool broken;
} writer;

static void
put(writer *to, const char *text, size_t length)
{
    if (to->broken)
        return;
    if (to->room - to->length < length + 1) {
        size_t room = to->room ? 2 * to->room : 1024;
        while (room - to->length < length + 1)
            room *= 2;
        char *grown = realloc(to->text, room);
        if (!grown) {
            to->broken = true;
            return;
        }
        to->text = grown;
        to->room = room;
    }
    memcpy(to->text + to->length, text, length);
    to->length += length;
    to->text[to->length] = 0;
}

static void
puts_to(writer *to, const char *text)
{
    put(to, text, strlen(text));
}

static void
put_string(writer *to, const char *string)
{
    puts_to(to, "\"");
    for (const char *c = string; *c; c++) {
        char escape[8];
        if (*c == '"' || *c == '\\')
            snprintf(escape, sizeof escape, "\\%c", *c);
        else if (*c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if ((unsigned char)*c < 32 || *c == 127)
            snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)*c);
        else
            snprintf(escape, sizeof escape, "%c", *c);
        puts_to(to, escape);
    }
    puts_to(to, "\"");
}

/* The shortest of %.15g, %.16g, %.17g that reads back, with a point so that it stays a real. */
static void
put_real(writer *to, double real)
{
    char text[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            break;
    }
    if (!strpbrk(text, ".e"))
        strncat(text, ".0", sizeof text - strlen(text) - 1);
    puts_to(to, text);
}

static void
put_value(writer *to, const mete__value *value, int indent)
{
    char text[64];
    switch (value->kind) {
    case METE__INT:
        snprintf(text, sizeof text, "%lld%s", (long long)value->integer,
                 value->integer > INT32_MAX || value->integer < INT32_MIN ? "L" : "");
        puts_to(to, text);
        return;
    case METE__REAL:
        put_real(to, value->real);
        return;
    case METE__BOOL:
        puts_to(to, value->integer ? "true" : "false");
        return;
    case METE__STRING:
        put_string(to, value->string);
        return;
    default:
        break;
    }
    bool group = value->kind == METE__GROUP;
    if (value->parent)
        puts_to(to, group ? "{" : "(");
    for (const mete__value *item = value->first; item; item = item->next) {
        puts_to(to, value->parent ? "\n" : "");
        for (int i = 0; i < indent; i++)
            puts_to(to, "    ");
        if (group) {
            puts_to(to, item->name);
            puts_to(to, " = ");
        }
        put_value(to, item, indent + 1);
        puts_to(to, group ? ";" : item->next ? "," : "");
        puts_to(to, value->parent ? "" : "\n");
    }
    if (value->parent) {
        if (value->first) {
            puts_to(to, "\n");
            for (int i = 1; i < indent; i++)
                puts_to(to, "    ");
        }
        puts_to(to, group ? "}" : ")");
    }
}

char *
mete__config_write(const mete__value *root)
{
    writer to = {0};
    puts_to(&to, "");
    put_value(&to, root, root->parent ? 1 : 0);
    if (!to.broken)
        return to.text;
    free(to.text);
    return NULL;
}

void
mete__value_mark_secret(mete__value *value)
{
    value->kind = METE__STRING;
    value->string = "***";
}
