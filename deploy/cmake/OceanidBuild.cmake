# Language level, warnings and sanitizers, given to our own targets only through the INTERFACE target
# `oceanid_build`; C code that we compile but did not write (wireguard-embeddable) stays free of them.

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_library(oceanid_build INTERFACE)
target_compile_features(oceanid_build INTERFACE cxx_std_23)
target_include_directories(oceanid_build INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_options(oceanid_build INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_link_options(oceanid_build INTERFACE -fuse-ld=lld)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(oceanid_build INTERFACE -fstack-protector-strong -D_FORTIFY_SOURCE=2)
  target_link_options(oceanid_build INTERFACE -Wl,-z,relro,-z,now)
endif()
if(OCEANID_SANITIZE)
  target_compile_options(oceanid_build INTERFACE
    -fsanitize=${OCEANID_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(oceanid_build INTERFACE -fsanitize=${OCEANID_SANITIZE})
  if(OCEANID_SANITIZE MATCHES "undefined")
    # vptr looks at memory through a pipe: a test that has used up the descriptors would be told that every object
    # is of a wrong type.
    target_compile_options(oceanid_build INTERFACE -fno-sanitize-recover=undefined
                           -fno-sanitize=function,vptr)
    target_link_options(oceanid_build INTERFACE -fno-sanitize=function,vptr)
  endif()
endif()

# Coverage of the libraries steers libFuzzer; without it only the target's own file would be seen.
if(OCEANID_FUZZ)
  target_compile_options(oceanid_build INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(oceanid_build INTERFACE -fsanitize=fuzzer-no-link)
endif()

# oceanid_library(NAME FOLDER [LIBS...]): one static library from every .cpp of a folder.
# A folder is a library so that purity ("core" links neither Asio nor netlink) is proven by linking.
function(oceanid_library name folder)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp")
  add_library(${name} STATIC ${sources})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(${name} PUBLIC oceanid_build ${ARGN})
endfunction()
