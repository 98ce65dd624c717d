# flags.cmake - one interface target that carries warnings, sanitizers and includes
#
# -Wmaybe-uninitialized is off: outputs that are written only on ST_OK are safe, but the
# compiler cannot see it through every function that passes an error on.
# -Wformat-truncation is off: one-line texts are cut by snprintf on purpose.
add_library(ff_flags INTERFACE)
target_include_directories(ff_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(ff_flags INTERFACE _GNU_SOURCE FF_VERSION="${PROJECT_VERSION}")
target_compile_options(ff_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes
    -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2
    "$<$<COMPILE_LANG_AND_ID:C,GNU>:-Wno-maybe-uninitialized;-Wno-format-truncation>" -fno-math-errno
    -ffp-contract=off>
  $<$<AND:$<COMPILE_LANGUAGE:C>,$<BOOL:${FF_WERROR}>>:-Werror>)
if(FF_SANITIZE)
  target_compile_options(ff_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${FF_SANITIZE} -fno-sanitize-recover=all
      -fno-omit-frame-pointer>)
  target_link_options(ff_flags INTERFACE -fsanitize=${FF_SANITIZE})
endif()
if(FF_FUZZ)
  target_compile_options(ff_flags INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=fuzzer-no-link>)
endif()
