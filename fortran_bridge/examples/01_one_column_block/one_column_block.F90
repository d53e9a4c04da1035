!> The shortest useful host: open a package, send one block of columns by name, take the tendencies.
program one_column_block
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator, climlink_host_fields
  implicit none (type, external)

  integer, parameter :: n_column = 8, n_level = 6
  type(climlink_emulator) :: emu
  type(climlink_host_fields) :: fields
  real(r8), target :: t(n_column, n_level), q(n_column, n_level), ps(n_column), solar(n_column)
  real(r8), target :: dtdt(n_column, n_level)
  character(len=1024) :: package

  call get_command_argument(1, package)
  t = 280.0_r8
  q = 5e-3_r8
  ps = 1e5_r8
  solar = 400.0_r8

  ! What this host has, and what it wants. The arrays are targets: the table points at them.
  call fields%begin(n_column)
  call fields%add_profile('state_t', 'K', t)
  call fields%add_profile('state_q0001', 'kg/kg', q)
  call fields%add_scalar('state_ps', 'Pa', ps)
  call fields%add_scalar('pbuf_SOLIN', 'W/m2', solar)
  call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)

  ! Without a status argument an error ends the program with a message.
  call emu%open(package, n_level=n_level, time_step=1200.0_r8)
  call fields%check(emu)
  call emu%begin(n_column)
  call fields%send(emu)
  call emu%run()
  call fields%receive(emu)
  call emu%close()

  write (output_unit, '(a,es12.4,a)') 'heating of the lowest level in column 1:', &
    dtdt(1, n_level), ' K/s'
end program one_column_block
