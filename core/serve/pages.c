/* pages.c - what the server answers of its own: health, metrics, its description, and a page that
 * scores what is pasted into it, node by node.
 */
#include "serve/serve.h"

#include <string.h>

static const struct {
    const char *path;
    int page;
} pages[] = {{"/", METE__PAGE_HOME},
             {"/health", METE__PAGE_HEALTH},
             {"/metrics", METE__PAGE_METRICS},
             {"/openapi.json", METE__PAGE_OPENAPI},
             {"/reverify_mode", METE__PAGE_REVERIFY}};

int
mete__page_find(const char *path)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(path, pages[i].path) == 0)
            return pages[i].page;
    return METE__PAGE_NONE;
}

static void
put_operation(const mete__protocol *p, mete_buffer *out)
{
    mete_json_put_text(out, mete_text_from(p->path));
    mete_buffer_string(out, ":{\"post\":{\"summary\":");
    mete_json_put_text(out, mete_text_from(p->summary));
    mete_buffer_string(out, ",\"tags\":[");
    mete_json_put_text(out, mete_text_from(p->family));
    mete_buffer_string(out,
                       "],\"requestBody\":{\"required\":true,\"content\":{\"application/json\":"
                       "{\"schema\":{\"type\":\"object\"},\"example\":");
    mete_buffer_string(out, p->example);
    mete_buffer_string(out, "}}},\"responses\":{\"200\":{\"description\":\"the scores\"},"
                            "\"400\":{\"description\":\"what is wrong with the body\"},"
                            "\"401\":{\"description\":\"the bearer token is missing or wrong\"},"
                            "\"413\":{\"description\":\"the body is too large\"},"
                            "\"422\":{\"description\":\"a record is not applicable\"},"
                            "\"502\":{\"description\":\"a record could not be judged\"},"
                            "\"503\":{\"description\":\"the queue is full\"},"
                            "\"504\":{\"description\":\"the deadline passed\"}}}}");
}

static void
put_openapi(mete_buffer *out)
{
    size_t count;
    const mete__protocol *table = mete__protocols(&count);
    mete_buffer_string(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"mete serve\","
                            "\"version\":\"1\"},\"components\":{\"securitySchemes\":{\"bearer\":"
                            "{\"type\":\"http\",\"scheme\":\"bearer\"}}},\"paths\":{");
    for (size_t i = 0; i < count; i++) {
        put_operation(&table[i], out);
        mete_buffer_byte(out, ',');
    }
    mete_buffer_string(out, "\"/health\":{\"get\":{\"summary\":\"is it up\",\"responses\":{\"200\":"
                            "{\"description\":\"yes\"}}}},\"/metrics\":{\"get\":{\"summary\":"
                            "\"figures for Prometheus\",\"responses\":{\"200\":{\"description\":"
                            "\"text\"}}}}}}");
}

/* ---- the page -------------------------------------------------------------------------------- */

static const char page_begin[] =
    "<!doctype html><html lang=en><meta charset=utf-8><title>mete serve</title>\n"
    "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;"
    "color:#1a1a1a}textarea,input{width:100%;box-sizing:border-box;font:14px "
    "ui-monospace,monospace;"
    "padding:.4rem;border:1px solid #bbb;border-radius:4px}label{display:block;margin:.8rem 0 "
    ".2rem}"
    "button{margin:1rem 0;padding:.4rem 1.2rem;font:inherit}table{border-collapse:collapse;"
    "width:100%}td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a40000}"
    ".bar{display:inline-block;height:.6rem;background:#3b6ea5}</style>\n"
    "<h1>mete serve</h1><p id=about></p>\n"
    "<label for=p>Prompt</label><textarea id=p rows=3></textarea>\n"
    "<label for=r>Response</label><textarea id=r rows=6></textarea>\n"
    "<label for=c>Further columns, as JSON <span id=cols></span></label>"
    "<textarea id=c rows=2 spellcheck=false>{}</textarea>\n"
    "<label for=t>Token, where the server wants one</label><input id=t type=password "
    "autocomplete=off>\n"
    "<button id=go>Score</button><p id=say class=bad role=status></p>\n"
    "<table><thead><tr><th>node<th>plugin<th>value<th><th>spread<th>status</thead>"
    "<tbody id=out></tbody></table>\n<script>\nconst tree=";

static const char page_end[] =
    ";\nconst $=i=>document.getElementById(i);\n"
    "$('about').textContent='version '+tree.version+', '+tree.nodes.length+' nodes';\n"
    "$('cols').textContent=tree.columns.length?'('+tree.columns.join(', ')+')':'';\n"
    "function cell(row,text,cls){const td=row.insertCell();td.textContent=text;"
    "if(cls)td.className=cls;return td}\n"
    "function show(nodes){const body=$('out');body.textContent='';\n"
    " const most=Math.max(1e-9,...Object.values(nodes).map(v=>Math.abs(v.value||0)));\n"
    " for(const n of tree.nodes){const v=nodes[n.key];if(!v)continue;const row=body.insertRow();\n"
    "  cell(row,n.name).style.paddingLeft=(.6+1.2*n.depth)+'rem';cell(row,n.use);\n"
    "  const at=v&&typeof v==='object'?v:{};\n"
    "  cell(row,at.value==null?'':String(at.value),'n');const bar=document.createElement('span');\n"
    "  bar.className='bar';bar.style.width=(6*Math.abs(at.value||0)/most)+'rem';\n"
    "  cell(row,'').append(bar);cell(row,at.spread==null?'':at.spread.toPrecision(3),'n');\n"
    "  cell(row,(at.status||'')+(at.reason?': '+at.reason:''),at.status==='valid'?'':'bad');\n"
    "  for(const[k,s]of Object.entries(at.signals||{})){const line=body.insertRow();\n"
    "   cell(line,'\\u00b7 '+k).style.paddingLeft=(1.8+1.2*n.depth)+'rem';cell(line,'');\n"
    "   cell(line,s==null?'':String(s),'n');cell(line,'');cell(line,'');cell(line,'')}}}\n"
    "$('go').onclick=async()=>{$('say').textContent='';try{\n"
    " const record=Object.assign(JSON.parse($('c').value||'{}'),"
    "{[tree.prompt]:$('p').value,[tree.response]:$('r').value});\n"
    " const headers={'Content-Type':'application/json'};\n"
    " if($('t').value)headers.Authorization='Bearer '+$('t').value;\n"
    " const got=await fetch('v1/score',{method:'POST',headers,"
    "body:JSON.stringify({records:[record]})});\n"
    " const answer=await got.json();if(!got.ok)throw Error(answer.error);\n"
    " const one=answer.results[0];if(one.reason)$('say').textContent=one.reason;\n"
    " show(one.nodes||{})}catch(e){$('say').textContent=e.message}};\n</script></html>\n";

/* JSON in a script: nothing in it may end the script. */
static void
put_script_text(mete_buffer *out, mete_text text)
{
    mete_buffer json = {0};
    mete_json_put_text(&json, text);
    for (size_t i = 0; i < json.length; i++)
        if (json.data[i] == '<')
            mete_buffer_string(out, "\\u003c");
        else
            mete_buffer_byte(out, json.data[i]);
    mete_buffer_free(&json);
}

static void
put_home(mete__server *server, mete_buffer *out)
{
    mete__tree *tree = mete__tree_use(server);
    const mete__report_sum *sum = mete__scorer_sum(tree->scorer);
    const mete__rows *rows = mete__scorer_rows(tree->scorer);
    mete_buffer_string(out, page_begin);
    mete_buffer_format(out, "{\"version\":\"%s\",\"prompt\":", tree->version);
    put_script_text(out, tree->setting.prompt);
    mete_buffer_string(out, ",\"response\":");
    put_script_text(out, tree->setting.response);
    mete_buffer_string(out, ",\"columns\":[");
    for (size_t i = 0; i < rows->wanteds; i++) {
        mete_buffer_string(out, i ? "," : "");
        put_script_text(out, rows->wanted[i].from);
    }
    mete_buffer_string(out, "],\"nodes\":[");
    for (size_t k = 0; k < sum->showns; k++) {
        const mete_node *node = sum->shown[k].node;
        unsigned depth = 0;
        for (const mete_node *up = node->parent; up && k; up = up->parent)
            depth++;
        mete_buffer_format(out, "%s{\"depth\":%u,\"key\":", k ? "," : "", depth);
        put_script_text(out, mete_text_from(sum->shown[k].name));
        mete_buffer_string(out, ",\"name\":");
        put_script_text(out, mete_text_from(node->name));
        mete_buffer_string(out, ",\"use\":");
        put_script_text(out, mete_text_from(node->plugin->as.head.name));
        mete_buffer_byte(out, '}');
    }
    mete_buffer_string(out, "]}");
    mete_buffer_string(out, page_end);
    mete__tree_leave(server, tree);
}

static void
put_health(mete__server *server, mete_buffer *out)
{
    mete__tree *tree = mete__tree_use(server);
    mete_buffer_format(out, "{\"status\":\"%s\",\"version\":\"%s\"}",
                       atomic_load(&server->draining) ? "draining" : "ok", tree->version);
    mete__tree_leave(server, tree);
}

const char *
mete__page_write(mete__server *server, int page, mete_buffer *out)
{
    switch (page) {
    case METE__PAGE_HOME:
        put_home(server, out);
        return "text/html; charset=utf-8";
    case METE__PAGE_METRICS:
        mete__meter_write(server, out);
        return "text/plain; version=0.0.4; charset=utf-8";
    case METE__PAGE_OPENAPI:
        put_openapi(out);
        return "application/json";
    case METE__PAGE_REVERIFY: /* NeMo-Gym asks: a row's reward depends on the row alone */
        mete_buffer_string(out, "\"stateless\"");
        return "application/json";
    default:
        put_health(server, out);
        return "application/json";
    }
}
