# Everything that we link comes from Debian packages; deploy/packages is the list to install from.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS system json url)
find_package(OpenSSL REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(IDN2 REQUIRED IMPORTED_TARGET libidn2)
pkg_check_modules(NL REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0 libnl-genl-3.0)
pkg_check_modules(MNL REQUIRED IMPORTED_TARGET libmnl)
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(CAP REQUIRED IMPORTED_TARGET libcap)

# Headers of third parties are system headers: our warnings are about our code.
add_library(oceanid_asio INTERFACE)
target_link_libraries(oceanid_asio INTERFACE Boost::headers Boost::system OpenSSL::SSL Threads::Threads)
target_compile_definitions(oceanid_asio INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION)

# wireguard-embeddable is compiled from the source that Debian's wireguard-tools package ships
# (LGPL-2.1+: a library of its own, and relinkable, since all of our source comes with this build).
set(WG_EMBEDDABLE_DIR "/usr/share/doc/wireguard-tools/examples/embeddable-wg-library"
    CACHE PATH "Folder with wireguard.c and wireguard.h")
if(NOT EXISTS "${WG_EMBEDDABLE_DIR}/wireguard.c")
  message(FATAL_ERROR
    "wireguard-embeddable's source is missing: ${WG_EMBEDDABLE_DIR}/wireguard.c\n"
    "Install it:  apt-get install --no-install-recommends wireguard-tools\n"
    "On an image that leaves /usr/share/doc out:  apt-get download wireguard-tools && "
    "dpkg -x wireguard-tools_*.deb wgt, then configure with "
    "-DWG_EMBEDDABLE_DIR=$PWD/wgt/usr/share/doc/wireguard-tools/examples/embeddable-wg-library")
endif()
add_library(wg_embeddable STATIC "${WG_EMBEDDABLE_DIR}/wireguard.c")
target_include_directories(wg_embeddable SYSTEM PUBLIC "${WG_EMBEDDABLE_DIR}")
# -fwrapv: it negates whatever errno a netlink answer names (mnlg_cb_stop), and the fuzzer found -2^31.
target_compile_options(wg_embeddable PRIVATE -std=gnu99 -w -fwrapv)
