# Builds plugins outside mete's own tree. A Makefile of three lines is enough:
#   KIND = reward
#   NAMES = length
#   include $(shell pkg-config --variable=mkfile mete)
# `make` builds NAME.so here; `make install` puts it where mete looks (your home folder).
CFLAGS ?= -O3 -g
PLUGINS = $(NAMES:=.so)
PLUGIN_HOME ?= $(HOME)/.local/lib/mete/plugins

all: $(PLUGINS)
%.so: %.c
	$(CC) $(CFLAGS) $(shell pkg-config --cflags mete) -fPIC -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter -shared -o $@ $< $(LDFLAGS) $(shell pkg-config --libs mete) $(LDLIBS) -lm
install: all
	mkdir -p $(PLUGIN_HOME)/$(KIND)
	for p in $(PLUGINS); do install -m 755 $$p $(PLUGIN_HOME)/$(KIND)/; done
clean:
	rm -f $(PLUGINS)
.PHONY: all install clean
