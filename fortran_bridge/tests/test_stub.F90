!> A build without libtorch links, reads manifests, and says what it lacks when asked to run a
!! package.
program test_stub
  use climlink, only: climlink_backend, climlink_emulator, climlink_error_file, climlink_status
  use test_support, only: check, check_error, finish
  implicit none (type, external)

  type(climlink_emulator) :: emulator
  type(climlink_status) :: status

  call check(climlink_backend() == 'stub', 'backend')
  call emulator%open('no_such_file.pt', status)
  call check_error(status, climlink_error_file, 'no_such_file.pt')
  call check(.not. emulator%is_open(), 'closed')
  call finish()
end program test_stub
