!> The shortest useful host: open a package, send one block of columns by name, take the tendencies.
program one_column_block
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator
  implicit none (type, external)

  integer, parameter :: n_column = 8, n_level = 6
  type(climlink_emulator) :: emu
  real(r8) :: t(n_column, n_level), q(n_column, n_level), ps(n_column), solar(n_column)
  real(r8) :: dtdt(n_column, n_level)
  character(len=1024) :: package

  call get_command_argument(1, package)
  t = 280.0_r8
  q = 5e-3_r8
  ps = 1e5_r8
  solar = 400.0_r8

  ! Without a status argument an error ends the program with a message.
  call emu%open(package, n_level=n_level, time_step=1200.0_r8)
  call emu%begin(n_column)
  call emu%set('state_t', t, 1)
  call emu%set('state_q0001', q, 1)
  call emu%set('state_ps', ps, 1)
  call emu%set('pbuf_SOLIN', solar, 1)
  call emu%run()
  call emu%get('ptend_t', dtdt, 1)
  call emu%close()

  write (output_unit, '(a,es12.4,a)') 'heating of the lowest level in column 1:', &
    dtdt(1, n_level), ' K/s'
end program one_column_block
