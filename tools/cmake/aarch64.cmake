# Builds for 64-bit Arm on another Linux machine; tests run under QEMU.
#
# The compiler and QEMU are packages (Debian and Ubuntu: gcc-aarch64-linux-gnu, qemu-user-static); Arm's cJSON, utf8proc, cmocka
# and libnuma come from a folder that tools/cmake/arm-libraries fills, NOCTULE_ARM_LIBRARIES, without any
# change to the machine.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(NOCTULE_ARM_LIBRARIES "${CMAKE_CURRENT_LIST_DIR}/../../build/arm-libraries" CACHE PATH "Arm libraries for cross-building")
get_filename_component(NOCTULE_ARM_LIBRARIES "${NOCTULE_ARM_LIBRARIES}" ABSOLUTE)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES NOCTULE_ARM_LIBRARIES)

set(ARM_LIB "${NOCTULE_ARM_LIBRARIES}/usr/lib/aarch64-linux-gnu")
set(CMAKE_FIND_ROOT_PATH "${NOCTULE_ARM_LIBRARIES}" /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(ENV{PKG_CONFIG_LIBDIR} "${ARM_LIB}/pkgconfig:${NOCTULE_ARM_LIBRARIES}/usr/share/pkgconfig")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${NOCTULE_ARM_LIBRARIES}")

find_program(NOCTULE_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(NOCTULE_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${NOCTULE_QEMU};-cpu;max;-L;/usr/aarch64-linux-gnu;-E;LD_LIBRARY_PATH=${ARM_LIB}")
endif()
