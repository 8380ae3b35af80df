# plugins.mk - every plugin is built by these rules; none is named here. GNU make.
#
# plugins/KIND/NAME.c and plugins/KIND/FAMILY/NAME.c become plugins/KIND/NAME.so, a folder
# plugins/KIND/FAMILY/NAME/ of several .c files too; those of plugins/KIND/FAMILY/common/ are
# linked into each such folder of the family. A comment line `common: NAMES` in a source links the
# files of plugins/common/NAME/, for plugins of any family. A line `pkg-config: NAMES` names the
# libraries it needs; without them the plugin is left out, with a notice.

PLUGIN_CFLAGS = $(CFLAGS) $(METE_CFLAGS) $(SANITIZE) -fPIC -fvisibility=hidden -I$(srcdir)/include
PLUGIN_LDFLAGS = $(LDFLAGS) $(SANITIZE) -shared -Wl,-z,defs -Wl,-z,relro -Wl,-z,now

plugin_files := $(filter-out $(srcdir)/plugins/common/%,$(wildcard $(srcdir)/plugins/*/*.c $(srcdir)/plugins/*/*/*.c))
plugin_folders := $(filter-out %/common,$(patsubst %/,%,$(sort $(dir $(wildcard $(srcdir)/plugins/*/*/*/*.c)))))
plugin_list :=

# The files that the sources $(1) share with other families.
plugin_common = $(foreach c,$(shell sed -n 's|^ \* common: ||p' $(1)),$(wildcard $(srcdir)/plugins/common/$(c)/*.c))

# $(1) source file or folder, $(2) kind, $(3) name, $(4) its .c files
define plugin_rule
plugin_packages_$(2)_$(3) := $$(shell sed -n 's|.*pkg-config: *\([^*]*\).*|\1|p' $(4) | tr '\n' ' ')
plugin_have_$(2)_$(3) := $$(if $$(strip $$(plugin_packages_$(2)_$(3))),$$(shell $(PKG_CONFIG) --exists $$(plugin_packages_$(2)_$(3)) && echo yes),yes)
ifeq ($$(plugin_have_$(2)_$(3)),yes)
plugin_list += plugins/$(2)/$(3).so
plugins/$(2)/$(3).so: $(4) libmete.la $(srcdir)/plugins/plugins.mk
	@mkdir -p plugins/$(2)
	$$(AM_V_CC)$(CC) $(PLUGIN_CFLAGS) $$(if $$(strip $$(plugin_packages_$(2)_$(3))),$$(shell $(PKG_CONFIG) --cflags $$(plugin_packages_$(2)_$(3)))) -MMD -MP -MF plugins/$(2)/$(3).d -MT $$@ -o $$@.new $(4) $(PLUGIN_LDFLAGS) -L.libs -lmete $$(if $$(strip $$(plugin_packages_$(2)_$(3))),$$(shell $(PKG_CONFIG) --libs $$(plugin_packages_$(2)_$(3)))) -lm && mv -f $$@.new $$@
-include plugins/$(2)/$(3).d
else
$$(info notice: plugin $(2)/$(3) is left out; it needs $$(plugin_packages_$(2)_$(3)))
endif
endef
kind_of = $(word 1,$(subst /, ,$(patsubst $(srcdir)/plugins/%,%,$(1))))
# A header that is gone makes what included it anew, and is not made itself.
$(srcdir)/plugins/%.h: ;

$(foreach f,$(plugin_files),$(eval $(call plugin_rule,$(f),$(call kind_of,$(f)),$(basename $(notdir $(f))),$(f) $(call plugin_common,$(f)))))
$(foreach d,$(plugin_folders),$(eval $(call plugin_rule,$(d),$(call kind_of,$(d)),$(notdir $(d)),$(wildcard $(d)/*.c $(dir $(d))common/*.c) $(call plugin_common,$(wildcard $(d)/*.c)))))

# A source that a .d file names and that was moved or deleted: no fault, its plugin is made anew.
$(srcdir)/plugins/%.c: ;

plugins: $(plugin_list)

install-plugins: plugins
	@for p in $(plugin_list); do k=$${p#plugins/}; k=$${k%/*}; \
	  $(MKDIR_P) "$(DESTDIR)$(plugindir)/$$k" && \
	  $(INSTALL_PROGRAM) $$p "$(DESTDIR)$(plugindir)/$$k/" || exit 1; done
	$(MKDIR_P) "$(DESTDIR)$(plugindir)"
	$(INSTALL_DATA) $(srcdir)/plugins/plugin.mk "$(DESTDIR)$(plugindir)/plugin.mk"
uninstall-plugins:
	-for p in $(plugin_list); do rm -f "$(DESTDIR)$(plugindir)/$${p#plugins/}"; done
	-rm -f "$(DESTDIR)$(plugindir)/plugin.mk"
	-rm -rf "$(DESTDIR)$(datasubdir)"
install-conf:
	cd $(srcdir) && find conf tests/data -type f | while read f; do \
	  t=$$f; case $$f in tests/data/*) t=data/$${f#tests/data/};; esac; \
	  $(MKDIR_P) "$(DESTDIR)$(datasubdir)/$$(dirname $$t)" && \
	  $(INSTALL_DATA) $$f "$(DESTDIR)$(datasubdir)/$$t" || exit 1; done
clean-plugins:
	-rm -rf plugins/reward plugins/rubric plugins/policy plugins/environment tests/plugins tests/fuzz/bin

# Plugins that misbehave on purpose: tests/plugins/NAME.c, whose first line names the kind.
mischief_list :=
define mischief_rule
mischief_list += tests/plugins/$(2)/$(3).so
tests/plugins/$(2)/$(3).so: $(1) libmete.la
	@mkdir -p tests/plugins/$(2)
	$$(AM_V_CC)$(CC) $(PLUGIN_CFLAGS) -Wno-unused-parameter -I$(srcdir)/tests/plugins -o $$@ $(1) $(PLUGIN_LDFLAGS) -L.libs -lmete -lm
endef
$(foreach f,$(wildcard $(srcdir)/tests/plugins/*.c),$(eval $(call mischief_rule,$(f),$(shell sed -n '1s|.*kind: *\([a-z]*\).*|\1|p' $(f)),$(basename $(notdir $(f))))))
mischief: $(mischief_list)

# Fuzz targets replay their corpus in the ordinary run; `make fuzz` builds them for libFuzzer.
fuzz_list := $(patsubst $(srcdir)/tests/fuzz/fuzz_%.c,tests/fuzz/bin/%,$(wildcard $(srcdir)/tests/fuzz/fuzz_*.c))
tests/fuzz/bin/%: $(srcdir)/tests/fuzz/fuzz_%.c $(srcdir)/tests/fuzz/driver.c libmete.la
	@mkdir -p tests/fuzz/bin
	$(AM_V_CC)$(CC) $(CFLAGS) $(METE_CFLAGS) $(SANITIZE) -Wno-missing-prototypes -I$(srcdir)/include -I$(srcdir)/core -o $@ $< $(srcdir)/tests/fuzz/driver.c -L.libs -lmete -Wl,-rpath,$(abs_builddir)/.libs -lz -lm
fuzzers: $(fuzz_list)
fuzz:
	@mkdir -p tests/fuzz/bin
	for f in $(srcdir)/tests/fuzz/fuzz_*.c; do n=$${f##*/fuzz_}; \
	  clang -g -O1 -fsanitize=fuzzer,address -I$(srcdir)/include -I$(srcdir)/core -o tests/fuzz/bin/$${n%.c}-fuzz $$f \
	  -L.libs -lmete -Wl,-rpath,$(abs_builddir)/.libs -lz -lm || exit 1; done
