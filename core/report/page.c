/* page.c - what every page has: its style, its head and end, text made safe, numbers. No script and
 * nothing from a network, and the policy of the page forbids both. */
#include "report/page.h"

#include "report/report.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1b1e23;--soft:#667080;--rule:#d9dde3;--paper:#fff;"
    "--tint:#f4f6f8;--line:#0072b2;--band:#0072b226;--other:#b3460f;--good:#00785c;--bad:#b3460f}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#98a2b0;--rule:#333a44;"
    "--paper:#14171b;--tint:#1d2127;--line:#56b4e9;--band:#56b4e933;--other:#f08a4b;--good:#3cc29e;"
    "--bad:#f08a4b}}"
    "*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);"
    "background:var(--paper);max-width:1180px;margin:0 auto;padding:1.5rem 1.25rem 4rem}"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem;padding-top:.6rem;"
    "border-top:1px solid var(--rule)}p{margin:.4rem 0;max-width:70ch}.soft,figcaption span,dt"
    "{color:var(--soft)}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-"
    "nums}"
    ".wide{overflow-x:auto}th,td{text-align:right;padding:.25rem .6rem;white-space:nowrap;"
    "border-bottom:1px solid var(--rule)}th{color:var(--soft);font-weight:500}th:first-child,"
    "td:first-child{text-align:left;padding-left:0}.up{color:var(--good)}.down{color:var(--bad)}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(255px,1fr));gap:1rem "
    "1.4rem}"
    "figure{margin:0;display:flex;flex-direction:column;justify-content:flex-end}figcaption{font-"
    "size:.8rem;display:flex;justify-content:space-between;gap:"
    "1rem;"
    "overflow-wrap:anywhere}figcaption span{white-space:nowrap}svg{width:100%;height:auto;"
    "display:block}.g{stroke:var(--rule);"
    "stroke-width:.6}.s{stroke:var(--soft);stroke-width:.8;stroke-dasharray:3 3}.t{font-size:9px;"
    "fill:var(--soft)}.l{fill:none;stroke:var(--line);stroke-width:1.4;stroke-linejoin:round}"
    ".b{fill:var(--band)}.c{fill:var(--line)}.spark{width:110px;height:20px}.bar{display:inline-"
    "block;"
    "height:.6em;background:var(--line);border-radius:2px;vertical-align:middle;margin-left:.4em}"
    ".sample{background:var(--tint);border-radius:6px;padding:.7rem .9rem;margin:.6rem 0}"
    ".sample "
    "p{max-width:none;white-space:pre-wrap;overflow-wrap:anywhere}.chip{display:inline-block;"
    "font-size:.8rem;border:1px solid var(--rule);border-radius:99px;padding:0 .6em;margin:.15rem "
    ".3rem 0 0}details{margin:.8rem 0}summary{cursor:pointer;font-weight:600}pre{background:"
    "var(--tint);padding:.8rem;border-radius:6px;overflow-x:auto;font-size:.82rem}dl{display:grid;"
    "grid-template-columns:max-content 1fr;gap:.2rem 1rem}dd{margin:0}"
    ".one{color:var(--line)}.two{color:var(--other)}.other .l{stroke:var(--other);stroke-dasharray:"
    "5 2}.other .b{fill:var(--other);opacity:.14}.other .c{fill:var(--other)}"
    ".strip{width:220px;height:24px;max-width:none}.i{stroke:var(--line);stroke-width:2.5}"
    ".p{fill:var(--line)}.d{fill:var(--soft);opacity:.4}.a{stroke:var(--soft);stroke-width:.8}"
    ".m{text-anchor:middle}.e{text-anchor:end}.up .i{stroke:var(--good)}.up .p{fill:var(--good)}"
    ".down .i{stroke:var(--bad)}.down .p{fill:var(--bad)}.label{font-size:.75rem;color:"
    "var(--soft);text-align:center;white-space:normal;width:220px}.scale "
    "td{border:0;padding-top:0}.wide .text{min-width:9rem}"
    ".strip .t{font-size:10px}.plot .t{font-size:11px}.plots{display:grid;gap:1.2rem 1.6rem;"
    "grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr))}.lane{display:inline-"
    "block;width:64px;text-align:left}.key{font-size:.85rem;"
    "margin-right:.9rem;white-space:nowrap}.swatch{display:inline;width:22px;height:10px}"
    ".k{stroke:var(--k)}.k.l{stroke-width:1.8}.k.l.thin{stroke-width:1}.k.p{fill:var(--k);"
    "stroke:none}.k.o{fill:var(--k);stroke:none;opacity:.55}.dash{stroke-dasharray:6 3}"
    ".k0{--k:var(--line)}.k1{--k:var(--other)}.k2{--k:#1a9a76}.k3{--k:#c46a9d}.k4{--k:#b58a00}"
    ".k5{--k:#8a7fd6}.k6{--k:#7d868f}.k7{--k:#a0562a}.u1{background:#00a67a2b}.u2{background:#"
    "00a67a59}.u3{background:#00a67a8f}.n1{background:#d55e0026}"
    ".n2{background:#d55e0054}.n3{background:#d55e008a}.u1,.u2,.u3,.n1,.n2,.n3{border-radius:2px;"
    "print-color-adjust:exact}.criteria{list-style:none;padding:0;font-size:.88rem}ul{padding-left:"
    "1.1rem;margin:.4rem 0}"
    "th.text,td.text{text-align:left;white-space:normal;overflow-wrap:anywhere}"
    ".pair{display:grid;grid-template-columns:1fr 1fr;gap:0 1.4rem}"
    "@media(max-width:600px){body{padding:1rem .8rem 3rem}table{font-size:.82rem}th,td{padding:"
    ".2rem .35rem}.pair{grid-template-columns:1fr}}"
    "@media print{body{max-width:none;padding:0;font-size:9pt}details{display:block}figure,.sample,"
    "tr{break-inside:avoid}.wide{overflow:visible}th,td{padding:.2rem .35rem}}";

const char *
mete__page_name(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash && slash[1] ? slash + 1 : folder;
}

void
mete__page_open(mete_buffer *out, const char *title, bool live)
{
    mete_buffer_string(out,
                       "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n<meta "
                       "http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src "
                       "'unsafe-inline'\">\n<meta name=viewport content=\"width=device-width, "
                       "initial-scale=1\">\n<title>");
    mete__page_string(out, title);
    mete_buffer_string(out, live ? "</title>\n<meta http-equiv=refresh content=20>" : "</title>");
    mete_buffer_string(out, "\n<style>");
    mete_buffer_string(out, style);
    mete_buffer_string(out, "</style></head><body>\n<h1>");
    mete__page_string(out, title);
    mete_buffer_string(out, "</h1>\n");
}

void
mete__page_close(mete_buffer *out)
{
    mete_buffer_string(out, "<p class=soft>mete ");
    mete_buffer_string(out, PACKAGE_VERSION);
    mete_buffer_string(out, "</p>\n</body></html>\n");
}

void
mete__page_text(mete_buffer *out, mete_text text)
{
    for (size_t at = 0; at < text.length;) {
        uint32_t code = mete_utf8_next(text, &at);
        bool turns = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                     code == 0x200e || code == 0x200f;
        bool control = (code < 32 && code != '\n' && code != '\t') || (code >= 127 && code < 160);
        if (code == '<')
            mete_buffer_string(out, "&lt;");
        else if (code == '>')
            mete_buffer_string(out, "&gt;");
        else if (code == '&')
            mete_buffer_string(out, "&amp;");
        else if (code == '"')
            mete_buffer_string(out, "&quot;");
        else if (code == '\'')
            mete_buffer_string(out, "&#39;");
        else
            mete_buffer_code(out, control || turns ? 0xfffd : code);
    }
}

void
mete__page_number(mete_buffer *out, double number)
{
    if (isfinite(number))
        mete_buffer_format(out, "%.4g", number == 0 ? 0.0 : number);
    else
        mete_buffer_string(out, "\xe2\x80\x93");
}

void
mete__page_string(mete_buffer *out, const char *text)
{
    mete__page_text(out, mete_text_from(text ? text : ""));
}

void
mete__page_cell(mete_buffer *out, double value)
{
    mete_buffer_string(out, "<td>");
    mete__page_number(out, value);
    mete_buffer_string(out, "</td>");
}

/* ---- files ----------------------------------------------------------------------------------- */

int
mete__page_json(const char *folder, const char *name, mete_json **out, mete_error *err)
{
    char path[PATH_MAX];
    mete_buffer text = mete_buffer_make(0);
    mete_error why = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int status = mete_file_read(path, (size_t)256 << 20, &text, err);
    *out = status ? NULL : mete_json_parse(mete_buffer_view(&text), &why);
    if (!status && !*out)
        status = mete_error_set(err, METE_EDATA, "%s: %s", path, why.message);
    mete_buffer_free(&text);
    return status;
}

char *
mete__page_member(const mete_json *object, const char *name)
{
    mete_text text = mete_json_text(mete_json_get(object, name));
    return text.data ? strndup(text.data, text.length) : NULL;
}

bool
mete__page_link(mete_buffer *out, const char *folder, const char *group, uint64_t seed)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/%" PRIu64 "/report.html", folder, group, seed);
    if (access(path, R_OK))
        return false;
    mete_buffer_string(out, "<a href=\"./");
    for (const unsigned char *c = (const unsigned char *)group; *c; c++)
        if (isalnum(*c) || strchr("-_.", *c))
            mete_buffer_byte(out, (char)*c);
        else
            mete_buffer_format(out, "%%%02X", *c);
    mete_buffer_format(out, "/%" PRIu64 "/report.html\">", seed);
    return true;
}

int
mete__report_save(const char *path, const mete_buffer *text, mete_error *err)
{
    char part[PATH_MAX + 8];
    snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "wbe");
    bool good = file && fwrite(text->data, 1, text->length, file) == text->length;
    if (file && fclose(file))
        good = false;
    if (good && rename(part, path) == 0)
        return METE_OK;
    return mete_error_set(err, METE_EIO, "cannot write %s: %s", path, strerror(errno));
}
