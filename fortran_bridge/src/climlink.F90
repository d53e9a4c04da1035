!> climlink for Fortran: `use climlink` is all that a host needs.
!!
!! ```fortran
!! type(climlink_emulator) :: emu
!! type(climlink_host_fields) :: fields
!! type(climlink_status) :: status
!! call fields%begin(ncol)                                     ! the host's table
!! call fields%add_profile('state_t', 'K', t)                  ! [column, level], real32 or real64
!! call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)
!! call emu%open('wrap_model.pt', status, comm=comm, n_level=60, time_step=1200.0_r8)
!! call fields%check(emu, status)
!! call emu%begin(ncol, status)                                ! each step
!! call fields%send(emu, status)
!! call emu%run(status)
!! call fields%receive(emu, status)
!! call emu%close(status)                                      ! at the end
!! ```
module climlink
  use climlink_c_api, only: c_text, climlink_backend_c, climlink_version_c
  use climlink_emulators, only: climlink_emulator
  use climlink_host_tables, only: climlink_host_fields, climlink_provider
  use climlink_run_options, only: climlink_options
  use climlink_variables, only: climlink_variable
  use climlink_errors, only: climlink_error_argument, climlink_error_backend, &
                             climlink_error_device, climlink_error_digest, climlink_error_file, &
                             climlink_error_golden, climlink_error_graph, climlink_error_group, &
                             climlink_error_host, &
                             climlink_error_internal, climlink_error_nonfinite, &
                             climlink_error_package, climlink_error_schema, climlink_error_shape, &
                             climlink_error_state, climlink_error_variable, climlink_ok, &
                             climlink_status
  implicit none (type, external)
  private

  public :: climlink_emulator, climlink_status, climlink_version, climlink_backend, &
            climlink_host_fields, climlink_options, climlink_provider, climlink_variable, &
            climlink_ok, climlink_error_argument, climlink_error_file, climlink_error_package, &
            climlink_error_schema, climlink_error_digest, climlink_error_host, &
            climlink_error_variable, climlink_error_shape, climlink_error_nonfinite, &
            climlink_error_golden, climlink_error_graph, climlink_error_device, &
            climlink_error_backend, climlink_error_state, climlink_error_internal, &
            climlink_error_group

contains

  !> Version of the library, such as 0.1.0.
  function climlink_version() result(version)
    character(len=:), allocatable :: version

    version = c_text(climlink_version_c())
  end function climlink_version

  !> Backend built into the library: torchscript or stub.
  function climlink_backend() result(backend)
    character(len=:), allocatable :: backend

    backend = c_text(climlink_backend_c())
  end function climlink_backend

end module climlink
