# The inference backend "libtorch" for a target of E3SM's components/emulators. In the directory of
# that target:
#   find_package(climlink 0.1 REQUIRED)
#   include("${climlink_DIR}/emulators/climlinkEmulators.cmake")
#   climlink_add_emulators_backend(emulator_common)
set(CLIMLINK_EMULATORS_SOURCES "${CMAKE_CURRENT_LIST_DIR}")

# Compiles the backend into TARGET, which must be able to include E3SM's inference_backend.hpp, and
# defines EMULATOR_ENABLE_CLIMLINK for it and for what links it.
function(climlink_add_emulators_backend target)
  target_sources(${target} PRIVATE
    "${CLIMLINK_EMULATORS_SOURCES}/climlink_inference_backend.cpp"
    "${CLIMLINK_EMULATORS_SOURCES}/climlink_package.cpp")
  target_include_directories(${target} PUBLIC "${CLIMLINK_EMULATORS_SOURCES}")
  target_compile_definitions(${target} PUBLIC EMULATOR_ENABLE_CLIMLINK)
  target_compile_features(${target} PUBLIC cxx_std_17)
  target_link_libraries(${target} PUBLIC climlink::climlink)
endfunction()
